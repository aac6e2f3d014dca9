use super::*;

/// What must not be dialled: one text, its entries between spaces.
fn refused(texts: &str) {
    for bad in texts.split_ascii_whitespace() {
        assert!(Networks::default().host(bad).is_err(), "{bad}");
    }
}

#[test]
fn names_of_this_machine_and_of_a_clouds_metadata_are_refused() {
    // TIX-21, NET-01, NET-07
    refused(
        "localhost LOCALHOST localhost. x.localhost x.y.LocalHost. ip6-localhost ip6-loopback metadata.google.internal \
         METADATA.google.internal. metadata instance-data instance-data.ec2.internal printer.local nas.lan router.home.arpa \
         xn--lcalhost-n1a a.xn--80ak6aa92e.example",
    );
}

#[test]
fn addresses_that_are_not_public_are_refused() {
    // TIX-21, NET-01, NET-02, NET-05, NET-06
    refused(
        "127.0.0.1 127.0.0.2 127.255.255.254 0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.255 192.168.1.1 \
         169.254.169.254 100.64.0.1 100.127.255.255 192.0.0.1 192.0.2.1 192.88.99.1 198.18.0.1 198.19.255.255 198.51.100.1 \
         203.0.113.7 224.0.0.1 239.1.1.1 240.0.0.1 255.255.255.255 168.63.129.16",
    );
    refused(
        "::1 [::1] :: ::ffff:127.0.0.1 ::ffff:7f00:1 ::127.0.0.1 ::ffff:10.0.0.1 ::ffff:8.8.8.8 fc00::1 fd00:ec2::254 fe80::1 \
         fec0::1 ff02::1 2001:db8::1 100::1 64:ff9b::7f00:1 64:ff9b:1::1 2002:7f00:1:: 2001::1 2001:0:7f00:1:: 2001:20::1 3fff::1 5f00::1",
    );
}

#[test]
fn other_spellings_of_an_address_and_what_is_no_host_are_refused() {
    // TIX-21, NET-03
    refused(
        "2130706433 0x7f000001 0177.0.0.1 127.1 0x7f.1 0 127.0.0.1. 1.2.3 8.8.8.8. example.0x7f",
    );
    refused(
        ". a..b -a.example a_b.example a/b user@host host:80 exämple.org [127.0.0.1] fe80::1%eth0 [::1",
    );
    for bad in ["", "a b", " a", "127.0.0.1\0"] {
        assert!(Networks::default().host(bad).is_err(), "{bad:?}");
    }
    let long = format!("{}.example", "a.".repeat(126));
    assert!(Networks::default().host(&long).is_err());
}

#[test]
fn public_hosts_are_taken_in_one_spelling() {
    let none = Networks::default();
    for (text, host) in [
        ("8.8.8.8", "8.8.8.8"),
        ("2606:4700::1111", "2606:4700::1111"),
        ("[2606:4700::1111]", "2606:4700::1111"),
        ("Edge-1.Example.ORG.", "edge-1.example.org"),
        ("172.32.0.1", "172.32.0.1"),
        ("100.63.255.255", "100.63.255.255"),
        ("3com.example", "3com.example"),
    ] {
        assert_eq!(none.host(text).unwrap().to_string(), host);
    }
}

#[test]
fn an_operators_networks_are_the_only_exception() {
    let lan = Networks::read(["10.1.0.0/16", "fd00::/8", "127.0.0.1"]).unwrap();
    for good in ["10.1.2.3", "fd12::1", "127.0.0.1"] {
        assert!(lan.host(good).is_ok(), "{good}");
    }
    for bad in ["10.2.0.1", "::ffff:10.1.0.1", "127.0.0.2", "fc00::1"] {
        assert!(lan.host(bad).is_err(), "{bad}");
    }
    for bad in ["10.0.0.0/33", "10.0.0/8", "x", "::/129", "10.0.0.0/-1"] {
        assert_eq!(Networks::read([bad]), Err(BadHost::Form), "{bad}");
    }
    assert!(Networks::read(["0.0.0.0/0"]).unwrap().allow("127.0.0.1".parse().unwrap()));
}
