  const data = JSON.parse(document.getElementById("data").textContent);
  const NONE = 255;
  const FACETS = ["key", "query", "value", "token"];
  const find = (selector) => document.querySelector(selector);
  const make = (tag, className, text) => {
    const node = document.createElement(tag);
    if (className) node.className = className;
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const button = (text, action) => {
    const node = make("button", "", text);
    node.type = "button";
    node.addEventListener("click", action);
    return node;
  };

