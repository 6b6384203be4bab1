//! The table of models against the facts that it was written from.

use std::collections::BTreeSet;

use serde_json::Value;
use vitscope_vit::{identify::Format, known::models};

fn facts() -> Value {
    serde_json::from_slice(&vitscope_testkit::fact("models.json")).unwrap()
}

#[test]
fn every_fact_is_in_the_table_and_nothing_else() {
    let facts = facts();
    let facts = facts["models"].as_array().unwrap();
    let table = models();
    // The models that were known first come first; of those after them no such facts were written down.
    assert!(table.len() > facts.len());
    for (model, fact) in table.iter().zip(facts) {
        let text = |key: &str| fact[key].as_str().unwrap();
        let number = |key: &str| fact[key].as_u64().unwrap() as usize;
        assert_eq!(model.name, text("id"));
        assert_eq!(model.family.to_string(), text("family"));
        assert_eq!(model.size, text("size"));
        assert_eq!(model.patch, number("patch"));
        assert_eq!(model.width, number("embed_dim"));
        assert_eq!(model.depth, number("depth"));
        assert_eq!(model.heads, number("num_heads"));
        assert_eq!(model.hidden, number("mlp_hidden"));
        assert_eq!(model.swiglu, text("mlp").starts_with("swiglu"));
        let (mean, std) = model.normalization.mean_std();
        for axis in 0..3 {
            assert_eq!(mean[axis], fact["mean"][axis].as_f64().unwrap());
            assert_eq!(std[axis], fact["std"][axis].as_f64().unwrap());
        }
        assert_eq!(model.registers, number("num_registers"));
        assert_eq!(model.image, number("native_image"));
        assert_eq!(model.parameters, fact["backbone_parameters_timm"].as_u64());
        assert!(
            text("license").starts_with(&model.license),
            "{}",
            model.name
        );

        let sources = &fact["sources"];
        let mut ids = BTreeSet::new();
        for format in ["open_clip", "transformers", "official"] {
            if let Some(id) = sources[format]["repo"].as_str() {
                ids.insert((format.parse::<Format>().unwrap().to_string(), id));
            }
        }
        for entry in sources["timm"].as_array().into_iter().flatten() {
            ids.insert(("timm".to_owned(), entry["hf_hub_id"].as_str().unwrap()));
        }
        let listed: BTreeSet<_> = model
            .sources
            .iter()
            .filter_map(|source| Some((source.format.to_string(), source.id.as_deref()?)))
            .collect();
        assert_eq!(listed, ids, "{}", model.name);

        let official = model
            .sources
            .iter()
            .find(|source| source.format == Format::Official);
        let said = |key: &str| sources["official"][key].as_str();
        assert_eq!(official.and_then(|o| o.file.as_deref()), said("file"));
        assert_eq!(official.and_then(|o| o.url.as_deref()), said("url"));
        assert_eq!(
            official.and_then(|o| o.full_url.as_deref()),
            said("full_url")
        );
        assert_eq!(official.and_then(|o| o.folder.as_deref()), said("folder"));
        assert_eq!(
            official.is_some_and(|o| o.gated),
            sources["official"]["gated"].as_bool().unwrap_or(false)
        );
        // timm publishes gated models openly; the authors' own publications ask first.
        let gated = text("license").contains("gated");
        for source in &model.sources {
            let own = matches!(source.format, Format::Official | Format::Transformers);
            assert_eq!(source.gated, gated && own, "{}", model.name);
            assert!(source.id.is_some() || source.page.is_some());
        }
    }
}

#[test]
fn names_are_unique() {
    let names: BTreeSet<_> = models().iter().map(|model| &model.name).collect();
    assert_eq!(names.len(), models().len());
}
