//! Colours of branding, and whether text on them can be read (WCAG 2.2, relative luminance and contrast ratio).

use std::fmt;

/// Red, green, blue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Color(pub u8, pub u8, pub u8);

/// Black.
pub const BLACK: Color = Color(0, 0, 0);
/// White.
pub const WHITE: Color = Color(255, 255, 255);

impl Color {
    /// `#rgb` or `#rrggbb`.
    pub fn parse(value: &str) -> Option<Self> {
        let digits: Vec<u8> = value
            .strip_prefix('#')?
            .chars()
            .map(|c| c.to_digit(16))
            .map(|digit| digit.and_then(|digit| u8::try_from(digit).ok()))
            .collect::<Option<_>>()?;
        match digits[..] {
            [r, g, b] => Some(Self(r * 17, g * 17, b * 17)),
            [r1, r2, g1, g2, b1, b2] => Some(Self(r1 * 16 + r2, g1 * 16 + g2, b1 * 16 + b2)),
            _ => None,
        }
    }

    fn luminance(self) -> f64 {
        let linear = |channel: u8| {
            let channel = f64::from(channel) / 255.0;
            if channel <= 0.040_45 { channel / 12.92 } else { ((channel + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * linear(self.0) + 0.7152 * linear(self.1) + 0.0722 * linear(self.2)
    }

    /// Contrast ratio with another colour: 1 to 21.
    pub fn contrast(self, other: Self) -> f64 {
        let (a, b) = (self.luminance(), other.luminance());
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    /// Black or white, whichever can be read better on this colour: one of them always reaches 4.5.
    pub fn readable(self) -> Self {
        if self.contrast(BLACK) >= self.contrast(WHITE) { BLACK } else { WHITE }
    }

    /// The softer grey for small print on this colour, if it can be read there.
    pub fn readable_soft(self) -> Self {
        let soft = if self.readable() == BLACK { Self(0x52, 0x52, 0x5b) } else { Self(0xd4, 0xd4, 0xd8) };
        if soft.contrast(self) >= 4.5 { soft } else { self.readable() }
    }
}

impl fmt::Display for Color {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "#{:02x}{:02x}{:02x}", self.0, self.1, self.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_read_strictly() {
        assert_eq!(Color::parse("#0aF"), Some(Color(0, 170, 255)));
        assert_eq!(Color::parse("#00AAff"), Some(Color(0, 170, 255)));
        for bad in ["", "#", "0af", "#00aaf", "#00aaff0", "#00aafg", "#ａａａ", "#fff;", "red"] {
            assert_eq!(Color::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn contrast_is_that_of_wcag() {
        assert!((BLACK.contrast(WHITE) - 21.0).abs() < 0.001);
        assert!((Color(0x76, 0x76, 0x76).contrast(WHITE) - 4.54).abs() < 0.01);
        for step in 0..=255 {
            let grey = Color(step, step, step);
            assert!(grey.readable().contrast(grey) >= 4.5 && grey.readable_soft().contrast(grey) >= 4.5, "{grey}");
        }
    }
}
