  // Images.
  const take = async (asked) => {
    try {
      await add(asked);
      return "";
    } catch (error) {
      return error.message;
    }
  };
  const opened = (wrong) => {
    chooseSomething();
    makeBoards();
    return refresh().then(() => wrong.length && complain(wrong.join(" ")));
  };
  const takeFiles = async (files) => {
    const wrong = [];
    for (const file of files) {
      find(".status").textContent = `Reading ${file.name} …`;
      const sentence = await take(ask("add", { name: file.name }, { method: "POST", body: file }));
      if (sentence) wrong.push(sentence.endsWith(".") ? sentence : `${sentence}.`);
    }
    await opened(wrong);
  };
  find(".file input").addEventListener("change", async (event) => {
    await takeFiles([...event.target.files]);
    event.target.value = "";
  });
  const picker = find(".names input");
  find(".names").hidden = about.names.length === 0;
  find("datalist").append(...about.names.map((name) => {
    const option = make("option");
    option.value = name;
    return option;
  }));
  picker.addEventListener("change", async () => {
    if (!picker.value) return;
    const sentence = await take(ask("pick", { name: picker.value }, { method: "POST" }));
    picker.value = "";
    await opened(sentence ? [sentence] : []);
  });
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("over");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("over");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("over");
    takeFiles([...event.dataTransfer.files]);
  });

