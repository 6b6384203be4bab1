//! A finished drawing, and its forms: SVG with its font inside, an element of the page, PNG, PDF.

use std::fmt::Write;
use std::sync::Arc;

use krilla::Document;
use krilla::geom::Size;
use krilla::metadata::Metadata;
use krilla::page::PageSettings;
use krilla_svg::{SurfaceExt, SvgSettings};
use resvg::{tiny_skia, usvg};

use crate::error::FigureError;
use crate::look::Look;
use crate::svg::{Lettering, PANEL, Svg, colors, escape, n};
use crate::text;
use crate::theme;

/// PNG pixels per SVG unit.
const PNG_SCALE: f32 = 2.0;

/// Lines of a caption that are drawn: the description and the file of a caption hold it whole.
const MOST_LINES: usize = 60;

/// A drawing that nothing is added to any more.
#[derive(Debug)]
pub(crate) struct Drawing {
    name: String,
    title: String,
    description: String,
    pub(crate) caption: String,
    width: f64,
    /// Without the caption.
    bottom: f64,
    body: String,
}

impl Drawing {
    /// Ends `svg`, whose caption begins at `bottom`. Readers of screens hear title and description.
    pub(crate) fn new(
        svg: Svg,
        bottom: f64,
        caption: String,
        title: String,
        description: String,
    ) -> Self {
        Self {
            name: svg.name,
            title,
            description,
            caption,
            width: svg.width,
            bottom,
            body: svg.body,
        }
    }

    /// Everything that is drawn, and how high that is.
    fn content(&self, look: &Look) -> (String, f64) {
        let mut letters = ('a'..='z').map(|letter| format!("{letter}\u{2002}"));
        let mut svg = Svg::new(&self.name, self.width);
        for (index, part) in self.body.split(PANEL).enumerate() {
            if index > 0 && look.letters {
                svg.body.push_str(&letters.next().unwrap_or_default());
            }
            svg.body.push_str(part);
        }
        if look.no_caption {
            return (svg.body, self.bottom.ceil());
        }
        let leading = theme::NOTE * 1.4;
        let room = svg.width - 2.0 * theme::MARGIN;
        let mut baseline = self.bottom;
        for line in text::wrap_in(&self.caption, room, theme::NOTE, MOST_LINES) {
            baseline += leading;
            svg.text([theme::MARGIN, baseline], Lettering::NOTE, &line);
        }
        (svg.body, (baseline + leading * 0.5).ceil())
    }

    /// Whether it fits a column of a page.
    pub(crate) fn is_narrow(&self) -> bool {
        self.width <= theme::COLUMN_WIDTH
    }

    /// The drawing as a file that stands alone, its font inside.
    pub(crate) fn file(&self, look: &Look) -> String {
        let fonts = format!("<style>\n{}</style>\n", *text::FONT_FACES);
        self.render(look, &fonts, &paper())
    }

    /// The drawing as an element of a page that has the font already.
    pub(crate) fn element(&self) -> String {
        self.render(&Look::default(), "", "")
    }

    fn render(&self, look: &Look, fonts: &str, paper: &str) -> String {
        let name = &self.name;
        let (body, height) = self.content(look);
        let (title, description) = (escape(&self.title), escape(&self.description));
        let (width, height) = (n(self.width), n(height));
        let mut text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
             role=\"img\" aria-labelledby=\"{name}-title {name}-desc\" font-family=\"Inter, Helvetica, Arial, sans-serif\">\n\
             <title id=\"{name}-title\">{title}</title>\n<desc id=\"{name}-desc\">{description}</desc>\n{fonts}"
        );
        if body.contains(&format!("#{name}-hatch")) {
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "<defs><pattern id=\"{name}-hatch\" width=\"5\" height=\"5\" patternUnits=\"userSpaceOnUse\">\
                 <rect width=\"5\" height=\"5\" fill=\"#e6e8ec\"/>\
                 <path d=\"M-1 1L1 -1M0 5L5 0M4 6L6 4\" stroke=\"#9299a3\" stroke-width=\"1\"/></pattern></defs>"
            );
        }
        text + paper + &body + "</svg>\n"
    }

    fn failed(&self, reason: impl ToString) -> FigureError {
        FigureError::render(&self.name, reason)
    }

    /// The drawing as the renderers see it, with the embedded font only.
    fn tree(&self, look: &Look) -> Result<usvg::Tree, FigureError> {
        let options = usvg::Options {
            fontdb: Arc::clone(&text::FONTS),
            // Pictures come at about the size they are shown at: bicubic costs more and adds rings to hard edges.
            image_rendering: usvg::ImageRendering::Smooth,
            font_family: "Inter".to_owned(),
            ..usvg::Options::default()
        };
        usvg::Tree::from_str(&self.render(look, "", &paper()), &options)
            .map_err(|error| self.failed(error))
    }

    /// The drawing as PDF: vectors, embedded subsets of the font, selectable text, no dates.
    pub(crate) fn pdf(&self, look: &Look) -> Result<Vec<u8>, FigureError> {
        let tree = self.tree(look)?;
        let size = tree.size();
        let [width, height] =
            [size.width(), size.height()].map(|length| length * theme::POINTS as f32);
        let no_area = || self.failed("it has no area");
        let page = PageSettings::from_wh(width, height).ok_or_else(no_area)?;
        let size = Size::from_wh(width, height).ok_or_else(no_area)?;
        let mut document = Document::new();
        let metadata = Metadata::new().title(self.title.clone());
        document.set_metadata(metadata.creator("vitscope".to_owned()));
        let mut page = document.start_page_with(page);
        let mut surface = page.surface();
        surface
            .draw_svg(&tree, size, SvgSettings::default())
            .ok_or_else(|| self.failed("it has no form as PDF"))?;
        surface.finish();
        page.finish();
        let bytes = document.finish();
        bytes.map_err(|error| self.failed(format!("{error:?}")))
    }

    /// The drawing as PNG.
    pub(crate) fn png(&self, look: &Look) -> Result<Vec<u8>, FigureError> {
        let tree = self.tree(look)?;
        let size = tree.size().to_int_size().scale_by(PNG_SCALE);
        let mut pixmap = size
            .and_then(|size| tiny_skia::Pixmap::new(size.width(), size.height()))
            .ok_or_else(|| self.failed("it has no area"))?;
        let scale = tiny_skia::Transform::from_scale(PNG_SCALE, PNG_SCALE);
        resvg::render(&tree, scale, &mut pixmap.as_mut());
        // The background is opaque, so alpha would only make the file larger.
        let pixels = pixmap.data().as_chunks::<4>().0.iter();
        let colors: Vec<u8> = pixels
            .flat_map(|pixel| [pixel[0], pixel[1], pixel[2]])
            .collect();
        let failed = |error: png::EncodingError| self.failed(error);
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, pixmap.width(), pixmap.height());
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        // A third of the time of the crate's own choice, for files larger by a twentieth.
        encoder.set_filter(png::Filter::Adaptive);
        encoder.set_deflate_compression(png::DeflateCompression::Level(3));
        let mut writer = encoder.write_header().map_err(failed)?;
        writer.write_image_data(&colors).map_err(failed)?;
        writer.finish().map_err(failed)?;
        Ok(bytes)
    }
}

fn paper() -> String {
    let fill = colors(Some(theme::PAPER), None);
    format!("<rect width=\"100%\" height=\"100%\" {fill}/>\n")
}
