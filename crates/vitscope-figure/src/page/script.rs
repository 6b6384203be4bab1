//! The page's script. It is one function, so that nothing of it is seen outside: each file under `templates/report/`
//! is a stretch of its body, and sees what those before it have named.

/// The script, as it stands in the page.
pub(super) const SCRIPT: &str = concat!(
    "\"use strict\";\n(() => {\n",
    include_str!("../../templates/report/shared.js"),
    include_str!("../../templates/report/downloads.js"),
    include_str!("../../templates/report/tabs.js"),
    include_str!("../../templates/report/table.js"),
    include_str!("../../templates/report/unpacking.js"),
    include_str!("../../templates/report/slots.js"),
    include_str!("../../templates/report/painting.js"),
    include_str!("../../templates/report/closer.js"),
    include_str!("../../templates/report/cards.js"),
    include_str!("../../templates/report/aggregates.js"),
    include_str!("../../templates/report/bars.js"),
    include_str!("../../templates/report/lighting.js"),
    include_str!("../../templates/report/controls.js"),
    include_str!("../../templates/report/view_as_png.js"),
    include_str!("../../templates/report/runs.js"),
    include_str!("../../templates/report/opening.js"),
    "})();\n",
);
