//! System calls that neither the standard library nor the `tun` crate wraps: epoll, eventfd, the ioctls that a device
//! with a virtio-net header needs, and packet sockets. The only module where `unsafe` is allowed.
//!
//! Reads and writes of frames mostly need none of it: `std::fs::File` does `readv` and `writev`.
#![expect(
    unsafe_code,
    reason = "system calls without a safe wrapper; each block says why it is sound"
)]

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::time::Duration;

use weft_proto::vocab::MacAddr;

/// `TUNSETOFFLOAD`: the reader takes partial checksums.
pub const OFFLOAD_CSUM: u32 = 0x01;
/// `TUNSETOFFLOAD`: the reader takes TCP over IPv4 super-packets.
pub const OFFLOAD_TSO4: u32 = 0x02;
/// `TUNSETOFFLOAD`: the reader takes TCP over IPv6 super-packets.
pub const OFFLOAD_TSO6: u32 = 0x04;
/// `TUNSETOFFLOAD`: super-packets may carry ECN's CWR.
pub const OFFLOAD_TSO_ECN: u32 = 0x08;
/// `TUNSETOFFLOAD`: the reader takes UDP over IPv4 super-packets.
pub const OFFLOAD_USO4: u32 = 0x20;
/// `TUNSETOFFLOAD`: the reader takes UDP over IPv6 super-packets.
pub const OFFLOAD_USO6: u32 = 0x40;

const TUNSETOFFLOAD: libc::Ioctl = 0x4004_54d0;
const TUNSETVNETHDRSZ: libc::Ioctl = 0x4004_54d8;

/// Turns a failed call's -1 into the thread's error.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}

/// Takes the descriptor out of a device of the `tun` crate and makes it non-blocking.
///
/// # Errors
/// Those of `fcntl`.
pub fn into_nonblocking_file(device: tun::Device) -> io::Result<File> {
    // SAFETY: `into_raw_fd` gives the descriptor up, so the file is its only owner.
    let file = unsafe { File::from_raw_fd(device.into_raw_fd()) };
    // SAFETY: the descriptor is open, and F_GETFL takes no pointer.
    let flags = check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFL) })?;
    // SAFETY: the descriptor is open, and F_SETFL takes no pointer.
    check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK) })?;
    Ok(file)
}

/// Sets the size of the virtio-net header in front of each frame.
///
/// # Errors
/// Those of the ioctl `TUNSETVNETHDRSZ`.
pub fn set_vnet_header_size(device: &impl AsRawFd, size: i32) -> io::Result<()> {
    // SAFETY: the kernel reads one int through the pointer, which outlives the call.
    check(unsafe { libc::ioctl(device.as_raw_fd(), TUNSETVNETHDRSZ, &raw const size) })?;
    Ok(())
}

/// Says which offloads the reader of the descriptor takes; it holds for the device.
///
/// # Errors
/// Those of the ioctl `TUNSETOFFLOAD`: `EINVAL` where the kernel does not know the combination.
pub fn set_offload(device: &impl AsRawFd, mask: u32) -> io::Result<()> {
    // SAFETY: the argument is a number, the kernel follows no pointer.
    check(unsafe { libc::ioctl(device.as_raw_fd(), TUNSETOFFLOAD, libc::c_ulong::from(mask)) })?;
    Ok(())
}

/// Sets the device's MAC address through its descriptor, in whatever namespace the device is.
///
/// # Errors
/// Those of the ioctl `SIOCSIFHWADDR`.
pub fn set_hardware_address(device: &impl AsRawFd, mac: MacAddr) -> io::Result<()> {
    // SAFETY: an all-zero `ifreq` is a valid value: an empty name and zeroed plain data.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let mut address = libc::sockaddr {
        sa_family: libc::ARPHRD_ETHER,
        sa_data: [0; 14],
    };
    for (to, from) in address.sa_data.iter_mut().zip(mac.0) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    request.ifr_ifru.ifru_hwaddr = address;
    // SAFETY: the kernel reads one `ifreq` through the pointer, which outlives the call.
    check(unsafe {
        libc::ioctl(
            device.as_raw_fd(),
            libc::SIOCSIFHWADDR as libc::Ioctl,
            &raw const request,
        )
    })?;
    Ok(())
}

/// Option of a packet socket: a virtio-net header stands before each frame.
pub const PACKET_VNET_HDR: libc::c_int = libc::PACKET_VNET_HDR;
/// Option of a packet socket: what the kernel took out of a frame is told beside it.
pub const PACKET_AUXDATA: libc::c_int = libc::PACKET_AUXDATA;
/// Option of a packet socket: only what comes in is received. Linux 4.20; not in the libc crate.
pub const PACKET_IGNORE_OUTGOING: libc::c_int = 23;

/// All protocols (`ETH_P_ALL`), as a packet socket wants them named.
const ALL_PROTOCOLS: u16 = 0x0003_u16.to_be();
/// The tag's type when the kernel names none: IEEE 802.1Q.
const VLAN: u16 = 0x8100;

/// A packet socket of whole frames that receives nothing yet, non-blocking.
///
/// # Errors
/// Those of `socket`: `EPERM` without `CAP_NET_RAW` in the namespace.
pub fn packet_socket() -> io::Result<File> {
    let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: takes no pointer.
    let fd = check(unsafe { libc::socket(libc::AF_PACKET, kind, 0) })?;
    // SAFETY: the descriptor was just made and has no other owner.
    Ok(unsafe { File::from_raw_fd(fd) })
}

/// Switches an option of a packet socket on.
///
/// # Errors
/// Those of `setsockopt`.
pub fn set_packet_option(socket: &File, option: libc::c_int) -> io::Result<()> {
    set_option(socket, libc::SOL_PACKET, option, 1)
}

/// Makes a socket hold so many bytes in each direction, or as many as the caller may ask for.
pub fn enlarge_buffers(socket: &File, bytes: usize) {
    let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    let options = [
        (libc::SO_RCVBUFFORCE, libc::SO_RCVBUF),
        (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF),
    ];
    for (beyond_the_limit, up_to_the_limit) in options {
        if set_option(socket, libc::SOL_SOCKET, beyond_the_limit, bytes).is_err() {
            // It is never refused: what is over the limit is cut.
            let _ = set_option(socket, libc::SOL_SOCKET, up_to_the_limit, bytes);
        }
    }
}

fn set_option(
    socket: &File,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let size = libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap_or(0);
    // SAFETY: the kernel reads one int through the pointer, which outlives the call.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size,
        )
    })?;
    Ok(())
}

/// Lets a packet socket receive what comes in by an interface of the calling thread's network namespace, and send
/// by it.
///
/// # Errors
/// Those of `bind`; `ENODEV` where there is no such interface, `EINVAL` where its name is no name.
pub fn bind_packet_socket(socket: &File, interface: &str) -> io::Result<()> {
    let name = std::ffi::CString::new(interface)?;
    // SAFETY: the name ends with a zero byte and outlives the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    // SAFETY: an all-zero `sockaddr_ll` is a valid value: plain numbers.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = u16::try_from(libc::AF_PACKET).unwrap_or_default();
    address.sll_protocol = ALL_PROTOCOLS;
    address.sll_ifindex = match libc::c_int::try_from(index) {
        Ok(index) if index > 0 => index,
        _ => return Err(io::Error::last_os_error()),
    };
    let size = libc::socklen_t::try_from(size_of_val(&address)).unwrap_or(0);
    // SAFETY: the kernel reads one `sockaddr_ll` through the pointer, which outlives the call.
    check(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size) })?;
    Ok(())
}

/// Room for the one control message that is asked for, aligned as the kernel wants it.
#[repr(C)]
union Control {
    header: libc::cmsghdr,
    bytes: [u8; 64],
}

/// Receives a frame in parts. Also says the VLAN tag, type and value, that the kernel took out of it.
///
/// # Errors
/// Those of `recvmsg`.
pub fn receive(
    socket: &File,
    parts: &mut [io::IoSliceMut<'_>],
) -> io::Result<(usize, Option<[u8; 4]>)> {
    let mut control = Control { bytes: [0; 64] };
    // SAFETY: an all-zero `msghdr` is a valid value: null pointers with lengths of zero.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    // An `IoSliceMut` has the layout of an `iovec`, as the standard library guarantees.
    message.msg_iov = parts.as_mut_ptr().cast();
    message.msg_iovlen = parts.len() as _;
    message.msg_control = (&raw mut control).cast();
    message.msg_controllen = size_of::<Control>() as _;
    // SAFETY: the kernel writes into the parts and into `control` within the lengths that are given, and all of them
    // outlive the call.
    let len = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, 0) };
    let len = usize::try_from(len).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: the kernel has filled in `message` and, as far as `msg_controllen` says, `control`.
    let found = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    // SAFETY: null, or a header within `control`.
    let Some(header) = (unsafe { found.as_ref() }) else {
        return Ok((len, None));
    };
    let wanted = (libc::SOL_PACKET, libc::PACKET_AUXDATA);
    let needed = size_of::<libc::cmsghdr>() + size_of::<libc::tpacket_auxdata>();
    if (header.cmsg_level, header.cmsg_type) != wanted || header.cmsg_len < needed {
        return Ok((len, None));
    }
    // SAFETY: a message of this type carries a `tpacket_auxdata`, which its length has room for; it may be unaligned.
    let told: libc::tpacket_auxdata = unsafe {
        libc::CMSG_DATA(found)
            .cast::<libc::tpacket_auxdata>()
            .read_unaligned()
    };
    if told.tp_status & libc::TP_STATUS_VLAN_VALID == 0 {
        return Ok((len, None));
    }
    let kind = match told.tp_status & libc::TP_STATUS_VLAN_TPID_VALID {
        0 => VLAN,
        _ => told.tp_vlan_tpid,
    };
    let ([a, b], [c, d]) = (kind.to_be_bytes(), told.tp_vlan_tci.to_be_bytes());
    Ok((len, Some([a, b, c, d])))
}

/// A set of descriptors that are watched for input, level-triggered.
#[derive(Debug)]
pub struct Epoll {
    fd: OwnedFd,
}

/// Room for what one [`Epoll::wait`] reports.
pub struct Events {
    raw: Vec<libc::epoll_event>,
    count: usize,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events")
            .field("room", &self.raw.len())
            .field("count", &self.count)
            .finish()
    }
}

impl Events {
    /// Room for `count` events, at least one.
    pub fn with_room(count: usize) -> Self {
        Self {
            raw: vec![libc::epoll_event { events: 0, u64: 0 }; count.max(1)],
            count: 0,
        }
    }

    /// Number of descriptors that were reported.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The token of the reported descriptor `index`.
    ///
    /// # Panics
    /// When `index` is not below [`Self::count`].
    pub fn token(&self, index: usize) -> u64 {
        self.raw[..self.count][index].u64
    }
}

impl Epoll {
    /// An empty set.
    ///
    /// # Errors
    /// Those of `epoll_create1`.
    pub fn new() -> io::Result<Self> {
        // SAFETY: takes no pointer.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the descriptor was just made and has no other owner.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { fd })
    }

    /// Watches `fd` for input and reports it as `token`.
    ///
    /// # Errors
    /// Those of `epoll_ctl`.
    pub fn add(&self, fd: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: libc::EPOLLIN as u32,
            u64: token,
        };
        // SAFETY: both descriptors are open, and the kernel reads one event through the pointer.
        check(unsafe {
            libc::epoll_ctl(
                self.fd.as_raw_fd(),
                libc::EPOLL_CTL_ADD,
                fd.as_raw_fd(),
                &raw mut event,
            )
        })?;
        Ok(())
    }

    /// Watches `fd` no longer.
    ///
    /// # Errors
    /// Those of `epoll_ctl`.
    pub fn remove(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        // SAFETY: both descriptors are open; the event may be null for this operation.
        check(unsafe {
            libc::epoll_ctl(
                self.fd.as_raw_fd(),
                libc::EPOLL_CTL_DEL,
                fd.as_raw_fd(),
                std::ptr::null_mut(),
            )
        })?;
        Ok(())
    }

    /// Waits for input; `None` waits without end. An interrupted wait reports nothing.
    ///
    /// # Errors
    /// Those of `epoll_wait`, but `EINTR`.
    pub fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = timeout.map_or(-1, |timeout| {
            libc::c_int::try_from(timeout.as_millis()).unwrap_or(libc::c_int::MAX)
        });
        let room = libc::c_int::try_from(events.raw.len()).unwrap_or(libc::c_int::MAX);
        events.count = 0;
        // SAFETY: the kernel writes at most `room` events, and the vector holds as many.
        let result = check(unsafe {
            libc::epoll_wait(self.fd.as_raw_fd(), events.raw.as_mut_ptr(), room, timeout)
        });
        match result {
            Ok(count) => {
                events.count = usize::try_from(count).unwrap_or(0);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// A counter in the kernel that wakes an [`Epoll`].
#[derive(Debug)]
pub struct EventFd {
    file: File,
}

impl EventFd {
    /// A counter at zero.
    ///
    /// # Errors
    /// Those of `eventfd`.
    pub fn new() -> io::Result<Self> {
        // SAFETY: takes no pointer.
        let fd = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        // SAFETY: the descriptor was just made and has no other owner.
        let file = unsafe { File::from_raw_fd(fd) };
        Ok(Self { file })
    }

    /// Wakes whoever watches it. A counter that is full already wakes, so that error is none.
    pub fn signal(&self) {
        let _full = (&self.file).write(&1u64.to_ne_bytes());
    }

    /// Sets the counter back to zero.
    pub fn clear(&self) {
        let mut counter = [0; 8];
        let _empty = (&self.file).read(&mut counter);
    }

    /// The descriptor to watch.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        std::os::fd::AsFd::as_fd(&self.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eventfd_wakes_an_epoll_until_it_is_cleared() {
        let epoll = Epoll::new().unwrap();
        let event = EventFd::new().unwrap();
        epoll.add(event.as_fd(), 7).unwrap();
        let mut events = Events::with_room(4);
        epoll.wait(&mut events, Some(Duration::ZERO)).unwrap();
        assert_eq!(events.count(), 0);
        event.signal();
        event.signal();
        epoll.wait(&mut events, None).unwrap();
        assert_eq!((events.count(), events.token(0)), (1, 7));
        event.clear();
        epoll.wait(&mut events, Some(Duration::ZERO)).unwrap();
        assert_eq!(events.count(), 0);
        event.signal();
        epoll.remove(event.as_fd()).unwrap();
        epoll.wait(&mut events, Some(Duration::ZERO)).unwrap();
        assert_eq!(events.count(), 0);
    }
}
