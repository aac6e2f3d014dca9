use super::*;

#[test]
fn a_data_frame_reads_back() {
    // SES-23
    let frame = Frame::Data(Data {
        kind: Kind::Input,
        position: 0x0102,
        bytes: Bytes::from_static(b"ls\r"),
    });
    let written = frame.write();
    assert_eq!(&written[..], b"\x02\0\0\0\0\0\0\x01\x02ls\r");
    assert_eq!(Frame::read(written), Ok(frame));
}

#[test]
fn what_is_no_frame_is_refused() {
    assert_eq!(Frame::read(Bytes::new()), Err(FrameError::Short));
    assert_eq!(Frame::read(Bytes::from_static(b"\x01\0\0")), Err(FrameError::Short));
    assert_eq!(Frame::read(Bytes::from_static(b"\x09\0\0\0\0\0\0\0\0")), Err(FrameError::Kind(9)));
    let over = write_data(Kind::Input, 0, &vec![0; MAX_INPUT + 1]);
    assert_eq!(Frame::read(over), Err(FrameError::Large(MAX_INPUT + 1)));
    assert_eq!(
        Frame::read(Bytes::from(vec![0; MAX_FRAME + 1])),
        Err(FrameError::Large(MAX_FRAME + 1))
    );
    let late = write_data(Kind::Output, u64::MAX, b"x");
    assert_eq!(Frame::read(late), Err(FrameError::Position));
}

#[test]
fn the_largest_input_is_taken() {
    assert!(Frame::read(write_data(Kind::Input, 0, &vec![0; MAX_INPUT])).is_ok());
}

/// The frames that this codec and the console's are both held against.
#[derive(serde::Deserialize)]
struct Vectors {
    frames: Vec<Vector>,
    refusals: Vec<Bad>,
}

#[derive(serde::Deserialize)]
struct Vector {
    kind: u8,
    position: u64,
    #[serde(flatten)]
    bytes: Bad,
}

#[derive(serde::Deserialize)]
struct Bad {
    name: String,
    head: String,
    zeros: usize,
}

impl Bad {
    fn whole(&self) -> Bytes {
        let mut whole = hex::decode(&self.head).expect("a vector's head is hex");
        whole.resize(whole.len() + self.zeros, 0);
        Bytes::from(whole)
    }
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("vectors.json")).expect("the vectors are as declared")
}

#[test]
fn the_shared_frames_read_and_write_as_in_the_console() {
    for vector in vectors().frames {
        let whole = vector.bytes.whole();
        let expected = match Kind::read(vector.kind) {
            None => Frame::Control(whole.slice(1..)),
            Some(kind) => {
                Frame::Data(Data { kind, position: vector.position, bytes: whole.slice(HEADER..) })
            }
        };
        assert_eq!(expected.write(), whole, "{}", vector.bytes.name);
        assert_eq!(Frame::read(whole), Ok(expected), "{}", vector.bytes.name);
    }
}

#[test]
fn what_the_console_refuses_is_refused() {
    for bad in vectors().refusals {
        assert!(Frame::read(bad.whole()).is_err(), "{}", bad.name);
    }
}
