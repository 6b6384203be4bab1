//! A small SVG writer: what every figure is drawn with, element by element.
//!
//! Every element carries its color twice: as an attribute, for the file on its own, and as a
//! class (`f-` for fills, `s-` for strokes), so that the page can recolor it for a dark screen.

mod on_photo;

use std::fmt::Write;

use vitscope_run::plain;

use crate::encoding::base64;
use crate::text::{self, Weight};
use crate::theme::{self, Paint};

/// Letters of a name that are told where it is pointed at; more help nobody.
const TOLD: usize = 1000;

/// Begins a panel's heading: a finished drawing makes it the panel's letter, or nothing.
pub(crate) const PANEL: char = '\u{e000}';

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
pub(crate) struct Lettering {
    pub(crate) size: f64,
    pub(crate) weight: Weight,
    pub(crate) anchor: Anchor,
    pub(crate) paint: Paint,
}

impl Lettering {
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
    pub(crate) name: String,
    pub(crate) width: f64,
    pub(crate) body: String,
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
        let name = self.name.clone();
        self.element(format_args!(
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"url(#{name}-hatch)\"/>",
            n(x),
            n(y),
            n(width),
            n(height)
        ));
    }

    /// A veil of hatching over a picture that means nothing, and a cross through it.
    pub(crate) fn void(&mut self, [x, y, width, height]: [f64; 4]) {
        let name = self.name.clone();
        self.element(format_args!(
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"url(#{name}-hatch)\" fill-opacity=\"0.72\"/>",
            n(x), n(y), n(width), n(height)
        ));
        self.frame([x, y, width, height], theme::MUTED, 1.0);
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

    /// A small dot beside a mark: one of the values that the mark sums up.
    pub(crate) fn speck(&mut self, [x, y]: [f64; 2], paint: Paint) {
        self.element(format_args!(
            "<circle cx=\"{}\" cy=\"{}\" r=\"2\" {}/>",
            n(x),
            n(y),
            colors(Some(paint), Some(theme::PAPER))
        ));
    }

    /// A short text on a picture, centered on its baseline, on a plate of paper.
    pub(crate) fn tag(&mut self, [x, y]: [f64; 2], words: &str) {
        let style = Lettering::NOTE.anchor(Anchor::Middle).paint(theme::INK);
        let width = text::width(words, style.size, style.weight) + 8.0;
        self.rect([x - width / 2.0, y - 12.0, width, 16.0], theme::PAPER);
        self.text([x, y], style, words);
    }

    /// A cross at a point: a value that means nothing.
    pub(crate) fn crossed(&mut self, [x, y]: [f64; 2], paint: Paint) {
        const ARM: f64 = 4.0;
        for [dx, dy] in [[ARM, ARM], [ARM, -ARM]] {
            self.line([x - dx, y - dy], [x + dx, y + dy], paint, 1.8, "");
        }
    }

    pub(crate) fn text(&mut self, place: [f64; 2], style: Lettering, text: &str) {
        self.set_text(place, style, &colors(Some(style.paint), None), text);
    }

    /// A text that is cut to `room`; what was cut is told whole where it is pointed at.
    pub(crate) fn fitted(&mut self, place: [f64; 2], style: Lettering, room: f64, whole: &str) {
        let whole = &*plain::line(whole);
        let shown = text::fit(whole, room, style.size, style.weight);
        if shown == whole {
            return self.text(place, style, whole);
        }
        if shown.is_empty() {
            return;
        }
        self.telling(whole, |svg| svg.text(place, style, &shown));
    }

    /// A name in the lines that [`text::wrap_in`] made of it; what was cut is told as [`Svg::fitted`] does.
    pub(crate) fn lines(
        &mut self,
        [x, y]: [f64; 2],
        leading: f64,
        style: Lettering,
        lines: &[String],
        whole: &str,
    ) {
        let draw = |svg: &mut Self| {
            for (line, name) in lines.iter().enumerate() {
                svg.text([x, y + line as f64 * leading], style, name);
            }
        };
        match text::is_whole(lines, whole) {
            true => draw(self),
            false => self.telling(whole, draw),
        }
    }

    /// What is drawn stands for `told`, which is shown where it is pointed at.
    pub(crate) fn telling(&mut self, told: &str, draw: impl FnOnce(&mut Self)) {
        let told: String = told.chars().take(TOLD).collect();
        self.element(format_args!("<g>"));
        self.title(&told);
        draw(self);
        self.end();
    }

    /// The heading of one of several panels, which may have letters, [fitted](Svg::fitted) to `room`.
    pub(crate) fn panel(&mut self, place: [f64; 2], room: f64, whole: &str) {
        let whole = &*plain::line(whole);
        let style = Lettering::HEAD;
        let shown = text::fit(whole, room, style.size, style.weight);
        let draw = |svg: &mut Self| svg.text(place, style, &format!("{PANEL}{shown}"));
        match shown == whole {
            true => draw(self),
            false => self.telling(whole, draw),
        }
    }

    /// A text on a cell whose color is a value: the same on every background.
    pub(crate) fn text_in(&mut self, place: [f64; 2], style: Lettering, color: &str, text: &str) {
        self.set_text(place, style, &format!("fill=\"{color}\""), text);
    }

    fn set_text(&mut self, [x, y]: [f64; 2], style: Lettering, fill: &str, text: &str) {
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
        // Laying out an endless line takes endless time, and nobody sees its end.
        let text = match text.char_indices().nth(TOLD) {
            Some((end, _)) => escape(&text[..end]),
            None => escape(text),
        };
        self.element(format_args!(
            "<text x=\"{}\" y=\"{}\" font-size=\"{}\"{weight}{anchor} {fill}>{text}</text>",
            n(x),
            n(y),
            n(style.size)
        ));
    }

    /// A text that reads upward, centered on its position: the name of a vertical axis.
    pub(crate) fn text_upward(&mut self, [x, y]: [f64; 2], style: Lettering, text: &str) {
        let (x, y) = (n(x), n(y));
        self.element(format_args!(
            "<g transform=\"translate({x} {y}) rotate(-90)\">"
        ));
        self.text([0.0, 0.0], style.anchor(Anchor::Middle), text);
        self.element(format_args!("</g>"));
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

    fn element(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.body, "{element}");
    }
}

/// A coordinate with at most two decimals, so that files stay small and equal.
pub(crate) fn n(number: f64) -> String {
    let text = format!("{number:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" {
        "0".to_owned()
    } else {
        text.to_owned()
    }
}

/// The attributes that color an element: classes for the page, values for the file.
pub(crate) fn colors(fill: Option<Paint>, stroke: Option<Paint>) -> String {
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

pub(crate) fn escape(text: &str) -> String {
    // Control characters are not allowed in XML in any form: they come as text.
    let mut out = String::with_capacity(text.len());
    for letter in plain::line(text).chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            _ => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_is_told_whole_where_it_is_pointed_at() {
        let draw = |name: &str| {
            let mut svg = Svg::new("test", 100.0);
            svg.fitted([1.0, 2.0], Lettering::LABEL, 60.0, name);
            svg.body
        };
        assert!(!draw("sky").contains("<g>"));
        let long = "a class of <a very long> name";
        let body = draw(long);
        assert!(
            body.contains(&format!("<title>{}</title>", escape(long))),
            "{body}"
        );
        assert!(body.contains("…</text>"), "{body}");
        assert!(draw(&"x".repeat(100_000)).len() < 2000);
        let panel = |name: &str| {
            let mut svg = Svg::new("test", 100.0);
            svg.panel([1.0, 2.0], 60.0, name);
            svg.body
        };
        assert!(!panel("sky").contains("<g>"));
        assert!(panel(long).contains("<title>a class of &lt;a very long&gt; name</title>"));
        let lines = |most: usize| {
            let mut svg = Svg::new("test", 100.0);
            let cut = text::wrap_in(long, 60.0, 12.0, most);
            svg.lines([1.0, 2.0], 9.0, Lettering::LABEL, &cut, long);
            svg.body
        };
        assert!(!lines(9).contains("<title>"), "{}", lines(9));
        assert!(lines(2).contains("<title>a class of &lt;"));
    }
}
