//! Bytes as text, in which figures and the page carry fonts, pictures and arrays.

use ::base64::Engine;
use ::base64::engine::general_purpose::STANDARD;

pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}
