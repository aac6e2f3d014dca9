//! What the OAuth2 server keeps: codes and requests that wait, authorizations with their tokens, and the keys that sign them.

mod code;
mod device;
mod family;
mod key;

pub use code::{AuthCode, NewCode};
pub use device::{Device, DeviceAnswer, DeviceState, NewDevice};
pub use family::{
    AccessToken, Family, Flow, Issue, NewAccessToken, NewFamily, NewRefreshToken, RefreshToken,
};
pub use key::{NewSigningKey, SigningKeyRow};
