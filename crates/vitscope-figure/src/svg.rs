//! A small SVG writer, and the way from SVG to PNG.
//!
//! Pictures in a grid, with few marks and exact places for their labels, are written by hand;
//! charts are drawn by plotters (`chart.rs`), which writes here too (`pen.rs`).
//!
//! Every element carries its color twice: as an attribute, for the file on its own, and as a
//! class (`f-` for fills, `s-` for strokes), so that the page can recolor it for a dark screen.

use std::fmt::Write;
use std::sync::Arc;

use ::base64::Engine;
use ::base64::engine::general_purpose::STANDARD;
use krilla::Document;
use krilla::geom::Size;
use krilla::metadata::Metadata;
use krilla::page::PageSettings;
use krilla_svg::{SurfaceExt, SvgSettings};
use resvg::{tiny_skia, usvg};

use crate::error::FigureError;
use crate::text::{self, Weight};
use crate::theme::{self, Paint};

/// PNG pixels per SVG unit.
const PNG_SCALE: f32 = 2.0;

pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// A picture ready to be embedded.
#[derive(Clone, Debug)]
pub(crate) struct Embedded {
    pub(crate) mime: &'static str,
    pub(crate) bytes: Vec<u8>,
}

/// Which point of a text its position names.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// How a text is set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Type {
    pub(crate) size: f64,
    pub(crate) weight: Weight,
    pub(crate) anchor: Anchor,
    pub(crate) paint: Paint,
}

impl Type {
    pub(crate) const LABEL: Self = Self {
        size: theme::TEXT,
        weight: Weight::Regular,
        anchor: Anchor::Start,
        paint: theme::INK,
    };
    pub(crate) const NOTE: Self = Self {
        size: theme::NOTE,
        paint: theme::MUTED,
        ..Self::LABEL
    };
    pub(crate) const HEAD: Self = Self {
        weight: Weight::SemiBold,
        ..Self::LABEL
    };

    pub(crate) fn anchor(self, anchor: Anchor) -> Self {
        Self { anchor, ..self }
    }

    pub(crate) fn paint(self, paint: Paint) -> Self {
        Self { paint, ..self }
    }
}

/// A drawing in progress. Coordinates run right and down from the top left corner.
#[derive(Debug)]
pub(crate) struct Svg {
    name: String,
    pub(crate) width: f64,
    body: String,
}

/// A finished drawing.
#[derive(Debug)]
pub(crate) struct Drawing {
    name: String,
    title: String,
    description: String,
    width: f64,
    height: f64,
    body: String,
}

impl Svg {
    /// `name` prefixes every id, so that several drawings can share a page.
    pub(crate) fn new(name: &str, width: f64) -> Self {
        Self {
            name: name.to_owned(),
            width,
            body: String::new(),
        }
    }

    pub(crate) fn rect(&mut self, [x, y, width, height]: [f64; 4], paint: Paint) {
        let fill = colors(Some(paint), None);
        self.element(format_args!(
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" {fill}/>",
            n(x),
            n(y),
            n(width),
            n(height)
        ));
    }

    pub(crate) fn frame(&mut self, [x, y, width, height]: [f64; 4], paint: Paint, thickness: f64) {
        let stroke = colors(None, Some(paint));
        self.element(format_args!(
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"none\" {stroke} stroke-width=\"{}\"/>",
            n(x), n(y), n(width), n(height), n(thickness)
        ));
    }

    /// A rectangle hatched in gray: pixels that carry no label.
    pub(crate) fn hatched(&mut self, [x, y, width, height]: [f64; 4]) {
        let rect = format!(
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"url(#{}-hatch)\"/>",
            n(x),
            n(y),
            n(width),
            n(height),
            self.name
        );
        self.element(format_args!("{rect}"));
    }

    /// A swatch of a data set's own color, which stays the same on every background.
    pub(crate) fn swatch(&mut self, [x, y, width, height]: [f64; 4], [red, green, blue]: [u8; 3]) {
        let stroke = colors(None, Some(theme::MUTED));
        self.element(format_args!(
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"#{red:02x}{green:02x}{blue:02x}\" {stroke} stroke-width=\"0.5\"/>",
            n(x), n(y), n(width), n(height)
        ));
    }

    /// A cell of a map: a color that is a value, the same on every background.
    pub(crate) fn cell(&mut self, [x, y, width, height]: [f64; 4], [red, green, blue]: [u8; 3]) {
        self.element(format_args!(
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"#{red:02x}{green:02x}{blue:02x}\"/>",
            n(x), n(y), n(width), n(height)
        ));
    }

    /// A ring on a photograph, white within black, so that it shows on any ground.
    pub(crate) fn ring(&mut self, [x, y]: [f64; 2], radius: f64, color: &str) {
        for (stroke, width) in [("#000000", 4.2), (color, 2.2)] {
            self.element(format_args!(
                "<circle cx=\"{}\" cy=\"{}\" r=\"{}\" fill=\"none\" stroke=\"{stroke}\" stroke-width=\"{width}\"/>",
                n(x), n(y), n(radius)
            ));
        }
    }

    /// A dot on a photograph, edged in black.
    pub(crate) fn dot(&mut self, [x, y]: [f64; 2], radius: f64, paint: Paint) {
        self.element(format_args!(
            "<circle cx=\"{}\" cy=\"{}\" r=\"{}\" fill=\"{}\" stroke=\"#000000\" stroke-width=\"0.6\"/>",
            n(x), n(y), n(radius), paint.hex
        ));
    }

    /// A cross on a photograph, edged in black.
    pub(crate) fn cross(&mut self, [x, y]: [f64; 2], arm: f64, color: &str) {
        for (stroke, width) in [("#000000", 4.2), (color, 2.2)] {
            self.element(format_args!(
                "<path d=\"M{} {}L{} {}M{} {}L{} {}\" fill=\"none\" stroke=\"{stroke}\" stroke-width=\"{width}\"/>",
                n(x - arm), n(y - arm), n(x + arm), n(y + arm), n(x - arm), n(y + arm), n(x + arm), n(y - arm)
            ));
        }
    }

    /// Begins a group that the page's script finds by `attribute`, such as a slot or a class.
    pub(crate) fn begin(&mut self, attribute: &str, value: &str) {
        let value = escape(value);
        self.element(format_args!("<g data-{attribute}=\"{value}\">"));
    }

    /// What is said of the group when it is pointed at.
    pub(crate) fn title(&mut self, text: &str) {
        let text = escape(text);
        self.element(format_args!("<title>{text}</title>"));
    }

    /// Ends what [`Svg::begin`] began.
    pub(crate) fn end(&mut self) {
        self.element(format_args!("</g>"));
    }

    pub(crate) fn line(
        &mut self,
        from: [f64; 2],
        to: [f64; 2],
        paint: Paint,
        thickness: f64,
        dashes: &str,
    ) {
        let stroke = colors(None, Some(paint));
        let dashes = if dashes.is_empty() {
            String::new()
        } else {
            format!(" stroke-dasharray=\"{dashes}\"")
        };
        self.element(format_args!(
            "<line x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\" {stroke} stroke-width=\"{}\"{dashes}/>",
            n(from[0]),
            n(from[1]),
            n(to[0]),
            n(to[1]),
            n(thickness)
        ));
    }

    pub(crate) fn polyline(&mut self, points: &[[f64; 2]], paint: Paint, thickness: f64) {
        let (points, stroke) = (path(points), colors(None, Some(paint)));
        self.element(format_args!(
            "<polyline points=\"{points}\" fill=\"none\" {stroke} stroke-width=\"{}\" stroke-linejoin=\"round\" stroke-linecap=\"round\"/>",
            n(thickness)
        ));
    }

    /// A filled area of some opacity, without an edge.
    pub(crate) fn area(&mut self, corners: &[[f64; 2]], paint: Paint, opacity: f64) {
        let (points, fill) = (path(corners), colors(Some(paint), None));
        self.element(format_args!(
            "<polygon points=\"{points}\" {fill} fill-opacity=\"{}\"/>",
            n(opacity)
        ));
    }

    /// A mark at a point; hollow marks are filled with the paper's color.
    pub(crate) fn mark(&mut self, [x, y]: [f64; 2], mark: theme::Mark, paint: Paint) {
        let inside = if mark.is_hollow() {
            theme::PAPER
        } else {
            paint
        };
        let paint = format!("{} stroke-width=\"1.8\"", colors(Some(inside), Some(paint)));
        match mark.corners() {
            None => self.element(format_args!(
                "<circle cx=\"{}\" cy=\"{}\" r=\"4\" {paint}/>",
                n(x),
                n(y)
            )),
            Some(corners) => {
                let points: Vec<[f64; 2]> = corners
                    .iter()
                    .map(|corner| [x + corner[0], y + corner[1]])
                    .collect();
                let points = path(&points);
                self.element(format_args!(
                    "<polygon points=\"{points}\" {paint} stroke-linejoin=\"round\"/>"
                ));
            }
        }
    }

    pub(crate) fn text(&mut self, place: [f64; 2], style: Type, text: &str) {
        self.set_text(place, style, &colors(Some(style.paint), None), text);
    }

    /// A text on a cell whose color is a value: the same on every background.
    pub(crate) fn text_in(&mut self, place: [f64; 2], style: Type, color: &str, text: &str) {
        self.set_text(place, style, &format!("fill=\"{color}\""), text);
    }

    fn set_text(&mut self, [x, y]: [f64; 2], style: Type, fill: &str, text: &str) {
        let anchor = match style.anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        let weight = if style.weight == Weight::SemiBold {
            " font-weight=\"600\""
        } else {
            ""
        };
        let text = escape(text);
        self.element(format_args!(
            "<text x=\"{}\" y=\"{}\" font-size=\"{}\"{weight}{anchor} {fill}>{text}</text>",
            n(x),
            n(y),
            n(style.size)
        ));
    }

    /// A text that reads upward, centered on its position: the name of a vertical axis.
    pub(crate) fn text_upward(&mut self, [x, y]: [f64; 2], style: Type, text: &str) {
        let (x, y) = (n(x), n(y));
        self.element(format_args!(
            "<g transform=\"translate({x} {y}) rotate(-90)\">"
        ));
        self.text([0.0, 0.0], style.anchor(Anchor::Middle), text);
        self.element(format_args!("</g>"));
    }

    /// Lines of notes; gives the position below them.
    pub(crate) fn notes(&mut self, x: f64, y: f64, notes: &[String]) -> f64 {
        let leading = theme::NOTE * 1.4;
        let mut baseline = y;
        let room = self.width - x - theme::MARGIN;
        for line in notes
            .iter()
            .flat_map(|note| text::wrap(note, room, theme::NOTE))
        {
            baseline += leading;
            self.text([x, baseline], Type::NOTE, &line);
        }
        baseline + leading * 0.5
    }

    pub(crate) fn picture(
        &mut self,
        [x, y, width, height]: [f64; 4],
        picture: &Embedded,
        label: &str,
    ) {
        let (data, mime, label) = (base64(&picture.bytes), picture.mime, escape(label));
        self.element(format_args!(
            "<image x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" role=\"img\" aria-label=\"{label}\" href=\"data:{mime};base64,{data}\"/>",
            n(x), n(y), n(width), n(height)
        ));
    }

    pub(crate) fn finish(self, height: f64, title: String, description: String) -> Drawing {
        Drawing {
            name: self.name,
            title,
            description,
            width: self.width,
            height: height.ceil(),
            body: self.body,
        }
    }

    fn element(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.body, "{element}");
    }
}

impl Drawing {
    /// Whether it fits a column of a page.
    pub(crate) fn is_narrow(&self) -> bool {
        self.width <= theme::COLUMN_WIDTH
    }

    /// The drawing as a file that stands alone, its font inside.
    pub(crate) fn file(&self) -> String {
        let fonts = format!("<style>\n{}</style>\n", *text::FONT_FACES);
        let paper = format!(
            "<rect width=\"100%\" height=\"100%\" {}/>\n",
            colors(Some(theme::PAPER), None)
        );
        self.render(&fonts, &paper)
    }

    /// The drawing as an element of a page that has the font already.
    pub(crate) fn element(&self) -> String {
        self.render("", "")
    }

    fn render(&self, fonts: &str, paper: &str) -> String {
        let Self {
            name,
            width,
            height,
            body,
            ..
        } = self;
        let (title, description) = (escape(&self.title), escape(&self.description));
        let (width, height) = (n(*width), n(*height));
        let hatch = if body.contains(&format!("#{name}-hatch")) {
            format!(
                "<defs><pattern id=\"{name}-hatch\" width=\"5\" height=\"5\" patternUnits=\"userSpaceOnUse\">\
                 <rect width=\"5\" height=\"5\" fill=\"#e6e8ec\"/>\
                 <path d=\"M-1 1L1 -1M0 5L5 0M4 6L6 4\" stroke=\"#9299a3\" stroke-width=\"1\"/></pattern></defs>\n"
            )
        } else {
            String::new()
        };
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
             role=\"img\" aria-labelledby=\"{name}-title {name}-desc\" font-family=\"Inter, Helvetica, Arial, sans-serif\">\n\
             <title id=\"{name}-title\">{title}</title>\n<desc id=\"{name}-desc\">{description}</desc>\n\
             {fonts}{hatch}{paper}{body}</svg>\n"
        )
    }

    /// The drawing as the renderers see it, with the embedded font only.
    fn tree(&self) -> Result<usvg::Tree, FigureError> {
        let options = usvg::Options {
            fontdb: Arc::clone(&text::FONTS),
            font_family: "Inter".to_owned(),
            ..usvg::Options::default()
        };
        let paper = format!(
            "<rect width=\"100%\" height=\"100%\" {}/>\n",
            colors(Some(theme::PAPER), None)
        );
        usvg::Tree::from_str(&self.render("", &paper), &options)
            .map_err(|error| FigureError::render(&self.name, error))
    }

    /// The drawing as PDF: vectors, embedded subsets of the font, selectable text, no dates.
    pub(crate) fn pdf(&self) -> Result<Vec<u8>, FigureError> {
        let failed = |reason: &str| FigureError::render(&self.name, reason);
        let tree = self.tree()?;
        let [width, height] =
            [self.width, self.height].map(|length| (length * theme::POINTS) as f32);
        let page = PageSettings::from_wh(width, height).ok_or_else(|| failed("it has no area"))?;
        let size = Size::from_wh(width, height).ok_or_else(|| failed("it has no area"))?;
        let mut document = Document::new();
        document.set_metadata(
            Metadata::new()
                .title(self.title.clone())
                .creator("vitscope".to_owned()),
        );
        let mut page = document.start_page_with(page);
        let mut surface = page.surface();
        surface
            .draw_svg(&tree, size, SvgSettings::default())
            .ok_or_else(|| failed("it has no form as PDF"))?;
        surface.finish();
        page.finish();
        document
            .finish()
            .map_err(|error| failed(&format!("{error:?}")))
    }

    /// The drawing as PNG.
    pub(crate) fn png(&self) -> Result<Vec<u8>, FigureError> {
        let tree = self.tree()?;
        let size = tree.size().to_int_size().scale_by(PNG_SCALE);
        let mut pixmap = size
            .and_then(|size| tiny_skia::Pixmap::new(size.width(), size.height()))
            .ok_or_else(|| FigureError::render(&self.name, "it has no area"))?;
        resvg::render(
            &tree,
            tiny_skia::Transform::from_scale(PNG_SCALE, PNG_SCALE),
            &mut pixmap.as_mut(),
        );
        // The background is opaque, so alpha would only make the file larger.
        let colors: Vec<u8> = pixmap
            .data()
            .as_chunks::<4>()
            .0
            .iter()
            .flat_map(|pixel| [pixel[0], pixel[1], pixel[2]])
            .collect();
        let failed = |error: png::EncodingError| FigureError::render(&self.name, error);
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, pixmap.width(), pixmap.height());
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header().map_err(failed)?;
        writer.write_image_data(&colors).map_err(failed)?;
        writer.finish().map_err(failed)?;
        Ok(bytes)
    }
}

/// A coordinate with at most two decimals, so that files stay small and equal.
fn n(number: f64) -> String {
    let text = format!("{number:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" {
        "0".to_owned()
    } else {
        text.to_owned()
    }
}

/// The attributes that color an element: classes for the page, values for the file.
fn colors(fill: Option<Paint>, stroke: Option<Paint>) -> String {
    match (fill, stroke) {
        (Some(fill), Some(stroke)) => {
            format!(
                "class=\"f-{} s-{}\" fill=\"{}\" stroke=\"{}\"",
                fill.name, stroke.name, fill.hex, stroke.hex
            )
        }
        (Some(fill), None) => format!("class=\"f-{}\" fill=\"{}\"", fill.name, fill.hex),
        (None, Some(stroke)) => format!("class=\"s-{}\" stroke=\"{}\"", stroke.name, stroke.hex),
        (None, None) => String::new(),
    }
}

fn path(points: &[[f64; 2]]) -> String {
    points
        .iter()
        .map(|point| format!("{},{}", n(point[0]), n(point[1])))
        .collect::<Vec<_>>()
        .join(" ")
}

fn escape(text: &str) -> String {
    // Control characters are not allowed in XML in any form.
    text.chars()
        .filter(|letter| !letter.is_control())
        .fold(String::new(), |mut out, letter| {
            match letter {
                '&' => out.push_str("&amp;"),
                '<' => out.push_str("&lt;"),
                '>' => out.push_str("&gt;"),
                '"' => out.push_str("&quot;"),
                _ => out.push(letter),
            }
            out
        })
}
