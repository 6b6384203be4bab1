//! The rows of a forward pass, and the place where they lie, as the protocol's stages take them.

use vitscope_protocol::{PatchRows, Site};
use vitscope_vit::vit::Rows;

use crate::error::StudyError;
use crate::source::Source;

/// Where the stages run that are given the rows of a source.
#[cfg(feature = "cuda")]
pub(crate) fn site(source: &Source) -> Result<Site, StudyError> {
    let site = source.gpu().map(Site::card).transpose();
    let site = site.map_err(|source| StudyError::Probe {
        slot: "probes".to_owned(),
        source,
    })?;
    Ok(site.unwrap_or_else(Site::host))
}

/// Where the stages run that are given the rows of a source.
#[cfg(not(feature = "cuda"))]
#[expect(clippy::unnecessary_wraps, reason = "a card has to be prepared")]
pub(crate) fn site(_: &Source) -> Result<Site, StudyError> {
    Ok(Site::host())
}

/// Rows as the stages take them.
pub(crate) fn patch_rows<'a>(rows: &Rows<'a>) -> PatchRows<'a> {
    match rows {
        Rows::Host(rows) => PatchRows::Host(*rows),
        #[cfg(feature = "cuda")]
        Rows::Cuda(rows) => PatchRows::Card(*rows),
    }
}
