//! When a grant counts: time of day, source network, a fresh second factor, an approval.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use super::Circumstances;
use crate::{Code, Timestamp};

/// What must hold for a grant to count. Each that is there must.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Conditions {
    /// The hours of the week.
    pub hours: Option<Hours>,
    /// The networks that the caller comes from; empty for any.
    pub networks: Vec<Network>,
    /// How long ago the second factor may have been shown.
    pub second_factor_within: Option<Duration>,
    /// Whether it counts only as what may be asked for: an approved request makes a grant of its own.
    pub approval: bool,
}

/// Which condition of a grant does not hold, the nearest to being met first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, thiserror::Error)]
pub enum Unmet {
    /// The second factor was not shown, or too long ago.
    #[error("the second factor was not shown lately")]
    SecondFactor,
    /// Somebody has to approve.
    #[error("somebody has to approve this first")]
    Approval,
    /// It is another time of the day or week.
    #[error("the role does not count at this time of day")]
    Hours,
    /// The caller comes from another network.
    #[error("the role does not count from this network")]
    Network,
}

impl Unmet {
    /// Gives the stable code.
    pub const fn code(self) -> Code {
        match self {
            Self::SecondFactor => Code::AccessSecondFactor,
            Self::Approval => Code::AccessApproval,
            Self::Hours => Code::AccessHours,
            Self::Network => Code::AccessNetwork,
        }
    }
}

impl Conditions {
    /// Tells whether everything holds.
    ///
    /// # Errors
    /// What does not, beginning with what the caller cannot mend: it hides whether a second factor would help.
    pub fn met(&self, how: &Circumstances, now: Timestamp) -> Result<(), Unmet> {
        let network = self.networks.is_empty()
            || how.address.is_some_and(|from| self.networks.iter().any(|net| net.contains(from)));
        if !network {
            return Err(Unmet::Network);
        }
        if self.hours.is_some_and(|hours| !hours.contains(now)) {
            return Err(Unmet::Hours);
        }
        if self.approval {
            return Err(Unmet::Approval);
        }
        let fresh = |within: Duration| {
            let asked = how.since.unwrap_or(now);
            how.second_factor_at.is_some_and(|shown| asked.since(shown) <= within)
        };
        if self.second_factor_within.is_some_and(|within| !fresh(within)) {
            return Err(Unmet::SecondFactor);
        }
        Ok(())
    }

    /// Tells when they stop to hold by the clock alone, if they hold now.
    pub fn until(&self, now: Timestamp) -> Option<Timestamp> {
        self.hours.map(|hours| hours.end(now))
    }
}

/// Hours of the days of a week, at a fixed distance from UTC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hours {
    /// A bit for each day, Monday the lowest.
    days: u8,
    /// The first minute of the day.
    from: u16,
    /// The minute after the last one; at most 1440. Below `from`: it reaches into the next day.
    to: u16,
    /// Minutes east of UTC.
    offset: i16,
}

/// Hours that are none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "hours are written DAYS HH:MM-HH:MM with an offset or without, such as `mon-fri 08:00-18:00` or `sat,sun 22:00-06:00 +02:00`"
)]
pub struct BadHours;

const DAY_NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const MINUTE_MS: i64 = 60_000;
const DAY_MINUTES: i64 = 1440;
const WEEK_MINUTES: i64 = 7 * DAY_MINUTES;

/// The first of January 1970 was a Thursday: three days after a Monday.
const EPOCH_DAY: i64 = 3;

impl Hours {
    /// Tells whether a moment is within.
    pub fn contains(self, at: Timestamp) -> bool {
        self.left(at).is_some()
    }

    /// Gives the end of the hours that a moment is in, days that follow without a gap being one stretch; the moment itself when it is in none.
    pub fn end(self, at: Timestamp) -> Timestamp {
        let first = at.0.div_euclid(MINUTE_MS);
        let mut minute = first;
        while let Some(left) = self.left(Timestamp(minute * MINUTE_MS)) {
            minute += left;
            if minute - first >= WEEK_MINUTES {
                break;
            }
        }
        if minute == first { at } else { Timestamp(minute * MINUTE_MS) }
    }

    /// Gives the minutes from a moment's own minute to the end of the hours that it is in.
    fn left(self, at: Timestamp) -> Option<i64> {
        let local = at.0.div_euclid(MINUTE_MS) + i64::from(self.offset);
        let (day, minute) = (local.div_euclid(DAY_MINUTES), local.rem_euclid(DAY_MINUTES));
        let has = |day: i64| self.days & (1 << (day + EPOCH_DAY).rem_euclid(7)) != 0;
        let (from, to) = (i64::from(self.from), i64::from(self.to));
        if from < to {
            return (has(day) && (from..to).contains(&minute)).then(|| to - minute);
        }
        if has(day) && minute >= from {
            return Some(DAY_MINUTES - minute + to);
        }
        (has(day - 1) && minute < to).then(|| to - minute)
    }
}

impl FromStr for Hours {
    type Err = BadHours;
    fn from_str(text: &str) -> Result<Self, BadHours> {
        let mut words = text.split_whitespace();
        let days = read_days(words.next().ok_or(BadHours)?)?;
        let (from, to) = words.next().ok_or(BadHours)?.split_once('-').ok_or(BadHours)?;
        let (from, to) = (read_minute(from)?, read_minute(to)?);
        let offset = words.next().map_or(Ok(0), read_offset)?;
        if words.next().is_some() || from >= 1440 || from == to {
            return Err(BadHours);
        }
        Ok(Self { days, from, to, offset })
    }
}

fn read_days(text: &str) -> Result<u8, BadHours> {
    let day = |name: &str| DAY_NAMES.iter().position(|known| *known == name).ok_or(BadHours);
    if text == "daily" {
        return Ok(0x7f);
    }
    let mut days = 0;
    for part in text.split(',') {
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (day(first)?, day(last)?),
            None => (day(part)?, day(part)?),
        };
        let count = (last + 7 - first) % 7;
        days |= (0..=count).fold(0u8, |set, step| set | 1 << ((first + step) % 7));
    }
    Ok(days)
}

fn read_minute(text: &str) -> Result<u16, BadHours> {
    let (hour, minute) = text.split_once(':').ok_or(BadHours)?;
    let two = |part: &str| {
        let digits = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
        if digits { part.parse::<u16>().map_err(|_| BadHours) } else { Err(BadHours) }
    };
    let (hour, minute) = (two(hour)?, two(minute)?);
    if minute > 59 || hour > 24 || hour == 24 && minute > 0 {
        return Err(BadHours);
    }
    Ok(hour * 60 + minute)
}

fn read_offset(text: &str) -> Result<i16, BadHours> {
    let (sign, rest) = match text.split_at_checked(1).ok_or(BadHours)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return Err(BadHours),
    };
    let minutes = read_minute(rest)?;
    // The furthest from UTC that any place keeps is fourteen hours.
    let minutes = i16::try_from(minutes).ok().filter(|m| *m <= 14 * 60).ok_or(BadHours)?;
    Ok(sign * minutes)
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named: Vec<&str> = DAY_NAMES
            .iter()
            .enumerate()
            .filter(|(at, _)| self.days & (1 << at) != 0)
            .map(|(_, name)| *name)
            .collect();
        let days = match self.days {
            0x7f => "daily".to_owned(),
            0x1f => "mon-fri".to_owned(),
            _ => named.join(","),
        };
        let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
        write!(f, "{days} {}-{}", clock(self.from), clock(self.to))?;
        if self.offset != 0 {
            let sign = if self.offset < 0 { '-' } else { '+' };
            write!(f, " {sign}{}", clock(self.offset.unsigned_abs()))?;
        }
        Ok(())
    }
}

/// A network: an address and how many of its first bits count (RFC 4632).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// A text that is no network.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a network is written 10.0.0.0/8, 2001:db8::/32 or as one address, with no bit set behind its length"
)]
pub struct BadNetwork;

impl Network {
    /// Tells whether an address is in it. An IPv4 address inside IPv6 counts as what it is.
    pub fn contains(self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                self.masks(32, u128::from(own.to_bits()), u128::from(other.to_bits()))
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => self.masks(128, own.to_bits(), other.to_bits()),
            _ => false,
        }
    }

    fn masks(self, width: u32, own: u128, other: u128) -> bool {
        let behind = width - u32::from(self.bits);
        own.checked_shr(behind).unwrap_or(0) == other.checked_shr(behind).unwrap_or(0)
    }
}

impl FromStr for Network {
    type Err = BadNetwork;
    fn from_str(text: &str) -> Result<Self, BadNetwork> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| BadNetwork)?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let plain = |bits: &str| !bits.is_empty() && bits.bytes().all(|b| b.is_ascii_digit());
        let bits = match bits {
            Some(bits) if plain(bits) => bits.parse().map_err(|_| BadNetwork)?,
            Some(_) => return Err(BadNetwork),
            None => width,
        };
        if bits > width {
            return Err(BadNetwork);
        }
        let network = Self { address, bits };
        let own = match address {
            IpAddr::V4(own) => u128::from(own.to_bits()),
            IpAddr::V6(own) => own.to_bits(),
        };
        let behind = u32::from(width - bits);
        let first = own.checked_shr(behind).unwrap_or(0).checked_shl(behind).unwrap_or(0);
        if first == own { Ok(network) } else { Err(BadNetwork) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

#[cfg(test)]
#[path = "condition/tests.rs"]
mod tests;
