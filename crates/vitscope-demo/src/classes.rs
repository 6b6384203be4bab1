//! The ten classes.

/// A semantic class: six grounds, then four things. The number is the mask's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SceneClass {
    /// Clouds over a smooth color.
    Sky,
    /// Tree crowns from above.
    Forest,
    /// Blades.
    Grass,
    /// Bricks and joints.
    Brick,
    /// Grains, pebbles and faint ripples.
    Sand,
    /// Waves with glints.
    Water,
    /// Hull, mast and striped sails.
    Boat,
    /// Windows and wheels.
    Bus,
    /// Leaves in a pot.
    Plant,
    /// Wool, a dark head and legs.
    Sheep,
}

impl SceneClass {
    /// All of them, in the masks' order.
    pub const ALL: [Self; 10] = [
        Self::Sky,
        Self::Forest,
        Self::Grass,
        Self::Brick,
        Self::Sand,
        Self::Water,
        Self::Boat,
        Self::Bus,
        Self::Plant,
        Self::Sheep,
    ];

    /// The grounds, in the order in which a biased scene stacks them, from the top.
    pub(crate) const GROUNDS: [Self; 6] = [
        Self::Sky,
        Self::Forest,
        Self::Brick,
        Self::Grass,
        Self::Sand,
        Self::Water,
    ];

    /// The things.
    pub(crate) const THINGS: [Self; 4] = [Self::Boat, Self::Bus, Self::Plant, Self::Sheep];

    /// What it is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sky => "sky",
            Self::Forest => "forest",
            Self::Grass => "grass",
            Self::Brick => "brick",
            Self::Sand => "sand",
            Self::Water => "water",
            Self::Boat => "boat",
            Self::Bus => "bus",
            Self::Plant => "plant",
            Self::Sheep => "sheep",
        }
    }

    /// Its number in masks.
    #[must_use]
    pub fn index(self) -> u8 {
        self as u8
    }
}
