//! The files of the page. Its script is one function, so that nothing of it is seen outside: each file under
//! `page/view/` is a stretch of its body.

pub(crate) const HTML: &str = include_str!("../page/view.html");
pub(crate) const STYLE: &str = include_str!("../page/view.css");
pub(crate) const SCRIPT: &str = concat!(
    "\"use strict\";\n(async () => {\n",
    include_str!("../page/view/shared.js"),
    include_str!("../page/view/state.js"),
    include_str!("../page/view/address.js"),
    include_str!("../page/view/boards.js"),
    include_str!("../page/view/asking.js"),
    include_str!("../page/view/painting.js"),
    include_str!("../page/view/controls.js"),
    include_str!("../page/view/pictures.js"),
    include_str!("../page/view/view_as_png.js"),
    include_str!("../page/view/start.js"),
    "})();\n",
);
