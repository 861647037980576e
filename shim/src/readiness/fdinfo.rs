//! What the kernel tells of an epoll set in /proc/self/fdinfo: one line per registration,
//! `tfd: <descriptor> events: <hex> data: <hex> …`.

use crate::kernel;
use core::ffi::c_int;

/// Whether a one-shot registration has fired: the kernel keeps it with no event left. `None`: /proc does not tell, or not
/// clearly. Nor is it clear what it tells of a registration whose `data` another one has, too.
#[cold]
#[inline(never)]
pub fn is_spent(set: c_int, fd: c_int, data: u64) -> Option<bool> {
    let (mut found, mut lines) = (None, 0);
    each_line(set, |line| {
        let Some((number, events, its_data)) = registration(line) else { return };
        if number == fd as u64 {
            const PRIVATE: u32 = (libc::EPOLLONESHOT | libc::EPOLLET | libc::EPOLLEXCLUSIVE | libc::EPOLLWAKEUP) as u32;
            found = Some(events & !PRIVATE == 0);
        }
        lines += u32::from(number == fd as u64 || its_data == data);
    })?;
    // With two of them one is of a socket that had the number before.
    found.filter(|_| lines == 1)
}

/// The descriptor, the events and the data of a line.
fn registration(line: &[u8]) -> Option<(u64, u32, u64)> {
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let mut after = |label: &[u8], radix| {
        words.find(|word| *word == label)?;
        words.next()?.iter().try_fold(0u64, |sum, digit| {
            Some(sum.wrapping_mul(u64::from(radix)).wrapping_add(u64::from(char::from(*digit).to_digit(radix)?)))
        })
    };
    Some((after(b"tfd:", 10)?, after(b"events:", 16)? as u32, after(b"data:", 16)?))
}

/// Reads the file by its lines; what is longer than any registration is cut.
fn each_line(set: c_int, mut work: impl FnMut(&[u8])) -> Option<()> {
    let mut path = *b"/proc/self/fdinfo/\0\0\0\0\0\0\0\0\0\0\0";
    let mut digits = [0u8; 10];
    let (mut number, mut count) = (set as u32, 0);
    for digit in &mut digits {
        *digit = b'0' + (number % 10) as u8;
        (number, count) = (number / 10, count + 1);
        if number == 0 {
            break;
        }
    }
    for (to, from) in path.iter_mut().skip(18).zip(digits.iter().take(count).rev()) {
        *to = *from;
    }
    let file = kernel::open_to_read(&path).ok()?;
    let (mut block, mut line, mut len) = ([0u8; 1024], [0u8; 160], 0);
    while let Ok(read) = kernel::read(file, &mut block) {
        if read == 0 {
            break;
        }
        for byte in block.iter().take(read) {
            if *byte == b'\n' {
                work(line.get(..len).unwrap_or_default());
                len = 0;
            } else if let Some(place) = line.get_mut(len) {
                *place = *byte;
                len += 1;
            }
        }
    }
    kernel::close(file);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registration_is_read_from_its_line() {
        let line = b"tfd:        4 events: 80000019 data:                4  pos:0 ino:2a8775 sdev:9";
        assert_eq!(registration(line), Some((4, 0x8000_0019, 4)));
        assert_eq!(registration(b"pos:\t0"), None);
        assert_eq!(registration(b"tfd: x events: 1"), None);
    }
}
