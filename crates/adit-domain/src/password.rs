//! Passwords: what one may be, and why another is refused.
//!
//! A long password that nobody guesses is enough: there are no rules about digits or signs. What is refused is what guessers try
//! first: the user's own name, words of every list of leaked passwords, walks over the keyboard, years, and repetitions of these.

use crate::Secret;

/// The fewest characters of a password that is chosen (NIST SP 800-63B-4 asks for 15 without a second factor and 8 with one).
pub const MIN_CHARS: usize = 12;

/// The most characters.
pub const MAX_CHARS: usize = 128;

/// The most bytes that are hashed: [`MAX_CHARS`] of the longest in UTF-8.
pub const MAX_BYTES: usize = 4 * MAX_CHARS;

/// So many characters must be left when everything that guessers try first is taken out.
const MIN_OWN_CHARS: usize = 4;

/// So many different characters there must be.
const MIN_DISTINCT: usize = 5;

/// A password, short enough to be hashed.
#[derive(Clone, Debug)]
pub struct Password(Secret<String>);

/// Why a password is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadPassword {
    /// Too few characters.
    #[error(
        "A password has at least 12 characters. A few words that do not belong together are good."
    )]
    Short,
    /// Too many.
    #[error("A password has at most 128 characters.")]
    Long,
    /// It holds the name that it goes with.
    #[error("The password holds your name, which is tried first. Choose something else.")]
    Name,
    /// Guessers try it first.
    #[error(
        "This password is made of what guessers try first: common words, rows of the keyboard, years. Choose something else."
    )]
    Common,
}

impl Password {
    /// Takes a password that somebody presents; only its length is looked at.
    ///
    /// # Errors
    /// [`BadPassword::Long`].
    pub fn presented(text: Secret<String>) -> Result<Self, BadPassword> {
        let length = text.expose().len();
        if length > MAX_BYTES { Err(BadPassword::Long) } else { Ok(Self(text)) }
    }

    /// Takes a password that somebody chooses.
    ///
    /// # Errors
    /// A [`BadPassword`] that says what is wrong with it.
    pub fn chosen(text: Secret<String>, user: &str) -> Result<Self, BadPassword> {
        let chars = text.expose().chars().count();
        if chars < MIN_CHARS {
            return Err(BadPassword::Short);
        }
        if chars > MAX_CHARS {
            return Err(BadPassword::Long);
        }
        let lower = Secret::new(text.expose().to_lowercase());
        if holds_name(lower.expose(), &user.to_lowercase()) {
            return Err(BadPassword::Name);
        }
        if is_common(lower.expose()) {
            return Err(BadPassword::Common);
        }
        Ok(Self(text))
    }

    /// Gives the bytes to the hash.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

/// The shortest name, or part of one before an `@`, that is looked for: shorter ones are in many words.
const MIN_NAME: usize = 4;

fn holds_name(password: &str, user: &str) -> bool {
    let local = user.split('@').next().unwrap_or(user);
    [user, local]
        .into_iter()
        .any(|name| name.chars().count() >= MIN_NAME && password.contains(name))
}

fn is_common(lower: &str) -> bool {
    let mut distinct: Vec<char> = lower.chars().collect();
    distinct.sort_unstable();
    distinct.dedup();
    distinct.len() < MIN_DISTINCT || own_chars(lower) < MIN_OWN_CHARS
}

/// Reads signs and digits that stand for letters as those letters.
fn fold(chars: &[char]) -> Vec<char> {
    let folded = chars.iter().map(|c| match c {
        '@' | '4' => 'a',
        '0' => 'o',
        '1' | '!' | '|' => 'i',
        '3' => 'e',
        '$' | '5' => 's',
        '7' | '+' => 't',
        '8' => 'b',
        other => *other,
    });
    folded.collect()
}

/// Counts the characters that are left when common words, walks, years and repetitions are taken out.
fn own_chars(lower: &str) -> usize {
    let plain: Vec<char> = lower.chars().collect();
    let folded = fold(&plain);
    let mut common = vec![false; plain.len()];
    for at in 0..plain.len() {
        let of = |chars: &[char]| word_at(chars).max(walk_at(chars));
        let covered = of(&plain[at..]).max(of(&folded[at..])).max(year_at(&plain[at..]));
        common[at..at + covered].fill(true);
    }
    let counts = |at: &usize| {
        let (at, c) = (*at, plain[*at]);
        let repeats = at > 0 && plain[at - 1] == c;
        !common[at] && !repeats && (c.is_alphanumeric() || !c.is_ascii())
    };
    (0..plain.len()).filter(counts).count()
}

/// Gives the length of the longest common word at the beginning.
fn word_at(chars: &[char]) -> usize {
    let begins = |word: &&str| word.chars().eq(chars.iter().copied().take(word.len()));
    COMMON.iter().filter(|word| begins(word)).map(|word| word.len()).max().unwrap_or(0)
}

/// The shortest piece of a walk that counts as one.
const MIN_WALK: usize = 3;

/// Gives how many characters at the beginning follow each other on one of the walks, forwards or backwards.
fn walk_at(chars: &[char]) -> usize {
    let longest = |walk: Vec<char>| {
        let starts = walk.iter().enumerate().filter(|(_, c)| Some(*c) == chars.first());
        let lengths = starts.map(|(at, _)| {
            walk[at..].iter().zip(chars).take_while(|(expected, found)| expected == found).count()
        });
        lengths.max().unwrap_or(0)
    };
    let both = WALKS.iter().flat_map(|walk| [walk.chars().collect(), walk.chars().rev().collect()]);
    let found = both.map(longest).max().unwrap_or(0);
    if found >= MIN_WALK { found } else { 0 }
}

/// Tells whether a year of a living memory stands at the beginning.
fn year_at(chars: &[char]) -> usize {
    let year: String = chars.iter().take(4).collect();
    let is_year =
        year.len() == 4 && year.parse().is_ok_and(|year: u16| (1900..2100).contains(&year));
    if is_year { 4 } else { 0 }
}

/// Ways that fingers go without a thought: rows, columns, the alphabet.
const WALKS: &[&str] = &[
    "qwertyuiop",
    "asdfghjkl",
    "zxcvbnm",
    "qwertzuiop",
    "azertyuiop",
    "12345678901234567890",
    "abcdefghijklmnopqrstuvwxyz",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p",
    "1q2w3e4r5t6y7u8i9o0p",
    "q1w2e3r4t5y6u7i8o9p0",
    "qazwsxedcrfvtgbyhnujmikolp",
    "!@#$%^&*()",
];

/// Words that stand at the top of every list of leaked passwords.
const COMMON: &[&str] = &[
    "administrator",
    "adminadmin",
    "iloveyou",
    "trustnoone",
    "trustno",
    "football",
    "baseball",
    "basketball",
    "starwars",
    "superman",
    "spiderman",
    "princess",
    "sunshine",
    "passwort",
    "password",
    "passw",
    "passphrase",
    "computer",
    "internet",
    "whatever",
    "michael",
    "jennifer",
    "jessica",
    "charlie",
    "liverpool",
    "chelsea",
    "arsenal",
    "pokemon",
    "naruto",
    "samsung",
    "letmein",
    "welcome",
    "dragon",
    "monkey",
    "master",
    "shadow",
    "killer",
    "hunter",
    "batman",
    "cheese",
    "cookie",
    "flower",
    "freedom",
    "hello",
    "qwerty",
    "qwertz",
    "azerty",
    "login",
    "secret",
    "default",
    "changeme",
    "change",
    "admin",
    "root",
    "guest",
    "user",
    "test",
    "temp",
    "love",
    "lovely",
    "angel",
    "daniel",
    "thomas",
    "robert",
    "andrew",
    "jordan",
    "ashley",
    "hannah",
    "george",
    "soccer",
    "hockey",
    "summer",
    "winter",
    "spring",
    "autumn",
    "january",
    "february",
    "march",
    "april",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
    "monday",
    "sunday",
    "access",
    "google",
    "facebook",
    "server",
    "linux",
    "ubuntu",
    "oracle",
    "cisco",
    "adit",
    "please",
    "forever",
    "mustang",
    "ferrari",
    "mercedes",
    "porsche",
    "abc",
    "xyz",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(text: &str) -> Result<(), BadPassword> {
        Password::chosen(Secret::new(text.to_owned()), "gertrude").map(drop)
    }

    // DESK-6
    #[test]
    fn what_nobody_guesses_is_taken() {
        for good in [
            "correct horse battery staple",
            "Zug nach Nirgendwo, 7 Uhr",
            "kX9#mQ2vL8pR",
            "пароль из семи длинных слов",
            "一二三四五六七八九十甲乙",
            "🦀🐙🦑🦐🐚🐋🐬🦈🐡🐠🐟🦭abcd efgh zoo",
        ] {
            assert_eq!(chosen(good), Ok(()), "{good}");
        }
    }

    // DESK-6
    #[test]
    fn what_is_tried_first_is_refused() {
        for bad in [
            "password1234",
            "P@ssw0rd2026!",
            "Summer2026!!!!",
            "qwertyuiop12",
            "1q2w3e4r5t6y",
            "poiuytrewq09",
            "aaaaaaaaaaaa",
            "abababababab",
            "abcdefghijkl",
            "123456789012",
            "AdminAdmin123",
            "letmein-letmein",
            "welcome1welcome1",
            "adit-secret-2026",
        ] {
            assert_eq!(chosen(bad), Err(BadPassword::Common), "{bad}");
        }
    }

    // DESK-6
    #[test]
    fn the_length_is_counted_in_characters() {
        assert_eq!(chosen("kX9#mQ2vL8p"), Err(BadPassword::Short));
        let long: String = ('a'..='z').cycle().step_by(7).take(MAX_CHARS).collect();
        assert_eq!(chosen(&long), Ok(()));
        assert_eq!(chosen(&format!("{long}x")), Err(BadPassword::Long));
        let huge = Secret::new("é".repeat(MAX_BYTES));
        assert_eq!(Password::presented(huge).map(drop), Err(BadPassword::Long));
    }

    // DESK-6
    #[test]
    fn the_users_name_is_refused_in_it() {
        assert_eq!(chosen("the Gertrude line 7"), Err(BadPassword::Name));
        let own = Password::chosen(Secret::new("fast-anna.b-trains".into()), "anna.b@example.org");
        assert_eq!(own.map(drop), Err(BadPassword::Name));
    }
}
