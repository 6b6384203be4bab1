//! `vitscope extract`.

use anyhow::anyhow;
use vitscope_data::DataSet;
use vitscope_study::extract::{Companions, Cut, Extraction, extract_data, extract_tensor};

use super::locate::locate;
use super::settled::{layout, settle};
use super::threads::use_threads;
use crate::args::{Cli, ExtractArgs, Output, StoreWord};
use crate::exit::usage;
use crate::progress::Teller;
use crate::stdout::{print, print_exactly};

/// Writes facets and prints the files.
pub fn run(cli: &Cli, args: &ExtractArgs) -> anyhow::Result<()> {
    use_threads(args.threads)?;
    let layout = layout(cli, &args.settle)?;
    let what = Extraction {
        model: locate(cli, &args.model, layout)?,
        settle: settle(&args.settle, layout)?,
        layers: args.slots.layers.clone(),
        facets: args.slots.each_facet(),
        token_norm: args.slots.token_norm,
        rope: args.slots.rope,
        transform_from: args.transform_from.clone(),
        half: args.store == StoreWord::F16,
        out: args.out.clone(),
    };
    let files = match (&args.tensor, &args.images, &args.data) {
        (Some(input), _, _) => {
            let beside = Companions {
                prefix: args.prefix_tokens,
                attention: args.attention,
            };
            extract_tensor(&what, input, beside, &mut Teller::new(cli))?
        }
        (None, Some(_), _) | (None, None, Some(_)) => {
            let spec = match (&args.images, &args.data) {
                (Some(images), _) => format!("folder:{}", images.display()),
                (None, data) => data.clone().unwrap_or_default(),
            };
            let data = DataSet::open(&spec)?;
            let cut = Cut {
                size: args.size,
                limit_train: args.limit_train,
                limit_test: args.limit_test,
            };
            extract_data(&what, &data, cut, &mut Teller::new(cli))?
        }
        (None, None, None) => return Err(usage(anyhow!("give --data, --images or --tensor"))),
    };
    match cli.output() {
        Output::Human => {
            let lines: Vec<String> = files
                .iter()
                .map(|path| path.display().to_string())
                .collect();
            print(&lines.join("\n"))
        }
        Output::Json => print_exactly(&serde_json::to_string(
            &serde_json::json!({ "files": files }),
        )?),
    }
}
