//! What a topology refuses, and when a port is up.

use super::*;

fn at(device: u64, port: u32) -> Endpoint {
    Endpoint {
        device: DeviceId(device),
        port: PortNo(port),
    }
}

fn port(number: u32) -> PortSpec {
    PortSpec {
        number: PortNo(number),
        name: format!("p{number}"),
        mtu: 1500,
        medium: Medium::L2,
    }
}

fn switch(name: &str, id: u64, ports: &[u32]) -> SwitchSpec {
    SwitchSpec {
        name: name.to_owned(),
        device_id: DeviceId(id),
        ports: ports.iter().copied().map(port).collect(),
    }
}

fn link(name: &str, a: Endpoint, b: Option<Endpoint>) -> LinkSpec {
    LinkSpec {
        name: name.to_owned(),
        a,
        b,
    }
}

fn refused(switches: Vec<SwitchSpec>, links: Vec<LinkSpec>) -> String {
    Topology::new(switches, links).unwrap_err().to_string()
}

#[test]
fn ids_names_and_ports_are_taken_once() {
    let two = || vec![switch("a", 1, &[1, 2]), switch("b", 2, &[1])];
    for (switches, links, message) in [
        (
            vec![switch("a", 0, &[])],
            vec![],
            "switch a has device id 0, which is invalid",
        ),
        (
            vec![switch("a", 1, &[]), switch("b", 1, &[])],
            vec![],
            "switch b with device id 1 exists already",
        ),
        (
            vec![switch("a", 1, &[]), switch("a", 2, &[])],
            vec![],
            "switch a with device id 2 exists already",
        ),
        (
            vec![switch("a", 1, &[0])],
            vec![],
            "port 0 of device 1 is reserved or exists already",
        ),
        (
            vec![switch("a", 1, &[3, 3])],
            vec![],
            "port 3 of device 1 is reserved or exists already",
        ),
        (
            vec![switch("a", 1, &[PortNo::CPU.0])],
            vec![],
            "port 4294967293 of device 1 is reserved or exists already",
        ),
        (
            two(),
            vec![link("l", at(1, 9), None)],
            "device 1 has no port 9",
        ),
        (
            two(),
            vec![link("l", at(1, 1), Some(at(3, 1)))],
            "device 3 has no port 1",
        ),
        (
            two(),
            vec![link("l", at(1, 1), Some(at(1, 1)))],
            "port 1 of device 1 is connected already",
        ),
        (
            two(),
            vec![
                link("l", at(1, 1), None),
                link("m", at(1, 1), Some(at(2, 1))),
            ],
            "port 1 of device 1 is connected already",
        ),
        (
            two(),
            vec![link("l", at(1, 1), None), link("l", at(1, 2), None)],
            "link l exists already",
        ),
    ] {
        assert_eq!(refused(switches, links), message);
    }
}

#[test]
fn a_port_is_up_when_something_is_behind_it_and_its_link_is_up() {
    let switches = vec![switch("a", 1, &[1, 2, 3]), switch("b", 2, &[1])];
    let links = vec![
        link("trunk", at(1, 1), Some(at(2, 1))),
        link("host", at(1, 2), None),
    ];
    let mut topology = Topology::new(switches, links).unwrap();
    let up = |topology: &Topology| -> Vec<bool> {
        let wiring = topology.wiring();
        let ports = wiring.devices.iter().flat_map(|device| &device.ports);
        ports.map(|port| port.up).collect()
    };
    assert_eq!(up(&topology), [true, false, false, true]);
    let memory = || PortKind::Memory(crate::port::MemoryPort::new().unwrap());
    topology.attach(at(1, 2), memory()).unwrap();
    topology.attach(at(1, 3), memory()).unwrap();
    assert_eq!(up(&topology), [true, true, true, true]);
    assert!(topology.attach(at(1, 2), memory()).is_err());
    assert!(topology.attach(at(1, 1), memory()).is_err());
    assert!(topology.set_link("trunk", LinkState::Down).unwrap());
    assert!(!topology.set_link("trunk", LinkState::Down).unwrap());
    assert!(topology.set_link("host", LinkState::Down).unwrap());
    assert_eq!(up(&topology), [false, false, true, false]);
    topology.set_link("host", LinkState::Up).unwrap();
    topology.detach(at(1, 2)).unwrap();
    assert_eq!(up(&topology), [false, false, true, false]);
    assert!(topology.set_link("other", LinkState::Up).is_err());
}
