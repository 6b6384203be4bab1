  const FACETS = ["key", "query", "value", "token"];
  const SHOWS = { cosine: "cosines", colors: "components", clusters: "clusters" };
  const NONE = 255;
  const find = (selector) => document.querySelector(selector);
  const make = (tag, className, text) => {
    const node = document.createElement(tag);
    if (className) node.className = className;
    if (text !== undefined) node.textContent = text;
    return node;
  };

  // One sentence of what went wrong; the next thing that works takes it away.
  const complain = (sentence) => {
    find(".wrong").textContent = sentence;
    find(".wrong").hidden = !sentence;
  };
  const ask = async (path, query, change) => {
    const text = new URLSearchParams(query || {}).toString();
    let response;
    try {
      response = await fetch(text ? `${path}?${text}` : path, change);
    } catch {
      throw new Error("vitscope does not answer: it may have been stopped.");
    }
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.error);
    return answer;
  };
  const decode = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

