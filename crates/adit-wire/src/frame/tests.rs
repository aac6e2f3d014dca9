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
