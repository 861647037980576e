//! A peer that writes anything at any time into its own outbox: calls on this side are refused or come to something
//! harmless; no access leaves the mapped memory (an unmapped page follows it), nothing panics, nothing goes on for ever.
#![cfg(not(loom))]

mod support;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use slipstream_ring::carrier::{Carrier, Ready};
use slipstream_ring::layout::{GRID, Outbox, WORDS};
use slipstream_ring::role::Entry;
use slipstream_ring::verify::Prefix;
use slipstream_ring::{Broken, Link, Look};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use support::{Nobody, Pair, SLEEPS, Start, left_behind, offset};

const CAPACITY: u32 = 4096;
/// Words of the header that a peer can write and this side may read: all of them.
const HEADER_BYTES: usize = size_of::<Outbox>();

/// What the victim does, or the peer does to it.
#[derive(Clone, Debug)]
enum Step {
    /// The peer writes a word of 4 or 8 bytes.
    Forge {
        place: u16,
        wide: bool,
        value: Value,
    },
    Send(u16),
    Receive(u16),
    Peek(u16),
    Turn,
    Sleep(u8),
    Ask,
}

/// A value worth trying.
#[derive(Clone, Debug)]
enum Value {
    Any(u64),
    /// Beside the victim's own consumer cursor, or its producer cursor.
    NearHead(i16),
    NearTail(i16),
    /// Beside the turn that the victim has followed, or taken.
    NearFollowed(i8),
    NearTurn(i8),
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<u64>().prop_map(Value::Any),
        (0..5u64).prop_map(Value::Any),
        Just(Value::Any(u64::MAX)),
        (-5000..5000i16).prop_map(Value::NearHead),
        prop::sample::select(vec![-1i16, 0, 1, 4095, 4096, 4097]).prop_map(Value::NearHead),
        (-5000..5000i16).prop_map(Value::NearTail),
        (-4..4i8).prop_map(Value::NearFollowed),
        (-4..4i8).prop_map(Value::NearTurn),
    ]
}

/// The words that an honest peer writes: cursors, boundaries, turns, marks, readiness, epochs, futexes.
fn lively() -> Vec<(u16, bool)> {
    let lines = ["producer.", "consumer.", "state.", "sleepers.", "wakes."];
    let words = WORDS.iter().filter(|(name, ..)| lines.iter().any(|line| name.starts_with(line)));
    // Those of several elements, one by one.
    words
        .flat_map(|(name, offset, bytes)| {
            let wide = ["producer.tail", "producer.news", "consumer.head", "state.boundary"].contains(name);
            (*offset..offset + bytes).step_by(if wide { 8 } else { 4 }).map(move |place| (place as u16, wide))
        })
        .collect()
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Miri does not do accesses of two sizes to one place.
    let natural = prop::sample::select(lively());
    let any = (0..HEADER_BYTES as u16 / 8 - 1, any::<bool>(), any::<bool>())
        .prop_map(|(place, odd, wide)| (place * 8 + if odd { 4 } else { 0 }, wide && !odd));
    let place = prop_oneof![8 => natural, if cfg!(miri) { 0 } else { 2 } => any];
    let step = prop_oneof![
        8 => (place, value()).prop_map(|((place, wide), value)| Step::Forge { place, wide, value }),
        3 => (0..9000u16).prop_map(Step::Send),
        3 => (0..9000u16).prop_map(Step::Receive),
        1 => (0..9000u16).prop_map(Step::Peek),
        2 => Just(Step::Turn),
        1 => (0..3u8).prop_map(Step::Sleep),
        1 => Just(Step::Ask),
    ];
    prop::collection::vec(step, 1..if cfg!(miri) { 20 } else { 60 })
}

fn forge(pair: &Pair, place: u16, wide: bool, value: &Value) {
    let own = pair.links[0].own().snapshot();
    let value = match value {
        Value::Any(value) => *value,
        Value::NearHead(delta) => own.head.wrapping_add_signed((*delta).into()),
        Value::NearTail(delta) => own.tail.wrapping_add_signed((*delta).into()),
        Value::NearFollowed(delta) => own.followed.wrapping_add_signed((*delta).into()).into(),
        Value::NearTurn(delta) => own.turn.wrapping_add_signed((*delta).into()).into(),
    };
    let word = pair.maps[1][0].word(place.into());
    // SAFETY: aligned words of the peer's header, in its own mapping; written as everything there is, atomically.
    unsafe {
        if wide {
            (*word.cast::<AtomicU64>()).store(value, Ordering::SeqCst);
        } else {
            (*word.cast::<AtomicU32>()).store(value as u32, Ordering::SeqCst);
        }
    }
}

/// What a shim's send comes to.
fn send(link: &Link, len: u32) {
    let (lock, tx) = (link.tx_lock(), link.producer());
    assert_eq!(lock.try_lock(1), Entry::Locked);
    if tx.carrier() == Carrier::Ring {
        if let Ok(claim) = tx.claim(len, Entry::Locked) {
            assert!(claim.len() <= len && claim.len() <= CAPACITY);
            let bytes = vec![0x55; claim.len() as usize];
            // SAFETY: as long as the claim.
            unsafe { claim.fill(0, bytes.as_ptr(), claim.len()) };
            link.deliver(tx.publish(), &Nobody);
        }
        if tx.must_go_back() {
            link.deliver(tx.go_back(), &Nobody);
        }
    }
    let _ = lock.unlock();
}

/// What a shim's receive comes to; a peer may make it follow turns for as long as it goes on forging them, so it gives
/// up after a few.
fn receive(link: &Link, room: u32, keep: bool) {
    let (lock, rx) = (link.rx_lock(), link.consumer());
    assert_eq!(lock.try_lock(1), Entry::Locked);
    for _ in 0..4 {
        match rx.look() {
            Err(_) | Ok(Look::Tcp { until: None, .. }) => break,
            Ok(Look::Tcp { turn, .. } | Look::Crossing { turn }) => rx.follow(turn).unwrap(),
            Ok(Look::Ring { head, available }) => {
                assert!(available <= CAPACITY);
                let len = available.min(room);
                let mut bytes = vec![0; available as usize];
                // SAFETY: as long as what is available, which `offset + len` never exceeds.
                unsafe {
                    rx.copy_out(head, 0, bytes.as_mut_ptr(), len);
                    rx.copy_out(head, available - len, bytes.as_mut_ptr(), len);
                }
                if !keep {
                    link.deliver(rx.consume(head, len).unwrap(), &Nobody);
                }
                break;
            }
        }
    }
    let _ = lock.unlock();
}

fn turn(link: &Link) {
    let (lock, tx) = (link.tx_lock(), link.producer());
    assert_eq!(lock.try_lock(1), Entry::Locked);
    match tx.carrier() {
        Carrier::Ring => match tx.try_go_back() {
            Some(wake) => link.deliver(wake, &Nobody),
            None => {
                // A shim answers until nothing is left; the peer may change its mind about that at any time.
                if let Ok((position, left)) = tx.left_behind() {
                    assert!(left <= CAPACITY);
                    assert_eq!(left_behind(tx, position, left).len(), left as usize);
                    tx.note_resent(position + u64::from(left));
                }
                link.deliver(tx.go_back(), &Nobody);
            }
        },
        Carrier::Tcp if tx.may_switch() => {
            if let Err(wake) = tx.switch(5) {
                link.deliver(wake, &Nobody);
            }
        }
        Carrier::Tcp => {}
    }
    let _ = lock.unlock();
}

fn ask(link: &Link) {
    assert!(link.producer().unread() <= u64::from(CAPACITY));
    assert!(link.consumer().unread() <= CAPACITY);
    let _ = (link.consumer().glance(), link.consumer().is_behind(), link.peer_marks(), link.peer_cpu());
    let _ = (link.is_recalled(), link.consumer().leftover(), link.consumer().peer_tail());
    let _ = (link.verdict(), link.peer().snapshot(), link.peer().check(7, 1, 8192));
    link.deliver(link.mark_end(), &Nobody);
}

fn step(pair: &Pair, step: &Step) {
    let link = &pair.links[0];
    match step {
        Step::Forge { place, wide, value } => forge(pair, *place, *wide, value),
        Step::Send(len) => send(link, (*len).into()),
        Step::Receive(room) => receive(link, (*room).into(), false),
        Step::Peek(room) => receive(link, (*room).into(), true),
        Step::Turn => turn(link),
        Step::Sleep(kind) => {
            let kind = SLEEPS[usize::from(*kind)];
            let armed = link.arm(kind);
            link.disarm(kind, armed);
        }
        Step::Ask => ask(link),
    }
}

fn victim(moved: bool) -> Pair {
    let pair = if moved { Pair::moved(CAPACITY) } else { Pair::new(CAPACITY, Start::default()) };
    let link = &pair.links[0];
    link.deliver(link.set_ready(Ready::Ready), &Nobody);
    let prefix = Prefix { bytes: 3, digest: [1; GRID] };
    link.post(&prefix, &prefix);
    pair
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 8 } else if cfg!(debug_assertions) { 2000 } else { 20_000 },
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(19_951_106),
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_forged_word_does_harm(steps in steps(), moved in any::<bool>()) {
        let pair = victim(moved);
        for each in &steps {
            step(&pair, each);
        }
    }
}

/// Writes words of the peer's: their offsets, sizes and values.
fn write(pair: &Pair, words: &[(u16, bool, u64)]) {
    for (place, wide, value) in words {
        forge(pair, *place, *wide, &Value::Any(*value));
    }
}

#[test]
fn cursors_and_turns_that_no_honest_peer_has_are_refused() {
    let [tail, turn, head] = ["producer.tail", "state.turn", "consumer.head"].map(|word| offset(word) as u16);
    // The ring is empty, both directions are in it, and this side has published ten bytes.
    let forged = |word: u16, wide: bool, value: u64| {
        let pair = Pair::moved(CAPACITY);
        send(&pair.links[0], 10);
        write(&pair, &[(word, wide, value)]);
        pair
    };
    for value in [4097, 1 << 32, u64::MAX, 1 << 63] {
        assert_eq!(forged(tail, true, value).links[0].consumer().look(), Err(Broken), "tail {value}");
    }
    for value in [0, 3, 4, 5, 1 << 31, u64::from(u32::MAX)] {
        assert_eq!(forged(turn, false, value).links[0].consumer().look(), Err(Broken), "turn {value}");
    }
    // A go-back that is not where the ring ends.
    let pair = forged(turn, false, 2);
    write(&pair, &[(offset("state.boundary") as u16, true, 5)]);
    assert_eq!(pair.links[0].consumer().look(), Err(Broken));
    for value in [11, 4096, 1 << 32, u64::MAX - 5000, 1 << 63, (1u64 << 32).wrapping_neg()] {
        let pair = forged(head, true, value);
        let tx = pair.links[0].producer();
        assert_eq!(pair.links[0].tx_lock().try_lock(1), Entry::Locked);
        assert_eq!(tx.claim(CAPACITY, Entry::Locked).err(), Some(Broken), "head {value}");
        assert_eq!(tx.left_behind(), Err(Broken), "head {value}");
        assert!(tx.unread() <= 10);
    }
}

#[test]
fn a_turn_from_tcp_that_no_honest_peer_takes_is_refused() {
    for turn in [3, 4, 1 << 31, u64::from(u32::MAX)] {
        let pair = Pair::new(CAPACITY, Start::default());
        write(&pair, &[(offset("state.turn") as u16, false, turn)]);
        assert_eq!(pair.links[0].consumer().look(), Err(Broken), "turn {turn}");
    }
}

/// The same, while the peer never stops writing.
#[cfg(not(miri))]
#[test]
fn no_word_forged_meanwhile_does_harm() {
    let pair = victim(true);
    use std::sync::Arc;
    // Two of them for as long as the victim goes on, however it ends.
    let going_on = Arc::new(());
    let victim_goes_on = going_on.clone();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let lively = lively();
            let mut random = 0x2545_F491_4F6C_DD1Du64;
            while Arc::strong_count(&going_on) > 1 {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let (place, _) = lively[(random >> 8) as usize % lively.len()];
                let delta = (random >> 16) as i16 % 5000;
                let value = match random & 3 {
                    0 => Value::Any(random),
                    1 => Value::NearHead(delta),
                    2 => Value::NearTail(delta),
                    _ => Value::NearFollowed((random >> 32) as i8 % 4),
                };
                forge(&pair, place, place.is_multiple_of(8) && random & 16 == 0, &value);
            }
        });
        for round in 0..200_000u32 {
            let link = &pair.links[0];
            send(link, round % 9000);
            receive(link, round * 7 % 9000, round % 5 == 0);
            if round % 3 == 0 {
                turn(link);
            }
            if round % 16 == 0 {
                ask(link);
            }
        }
        drop(victim_goes_on);
    });
}
