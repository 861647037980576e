//! Connections and descriptors: how they come and go.

use super::*;

impl Model {
    pub(super) fn descriptors(&mut self, actor: Actor, call: &Call, before: &mut Before) -> Option<Option<Blocked>> {
        let process = process_of(actor);
        match *call {
            Call::Connect { slot, listener, family, .. } => {
                if self.ends.len() + 2 > ENDS || (listener == 0 && family != 0) {
                    return None;
                }
                let nonblock = matches!(*call, Call::Connect { nonblock: 1, .. });
                let nagle = matches!(*call, Call::Connect { nagle: 1, .. });
                let end = self.ends.len();
                self.put(process, slot, Thing::End(end), false)?;
                self.ends.push(End { descriptors: 1, lowat: 1, nonblock, nagle, ..End::default() });
                self.ends.push(End { queued: true, lowat: 1, ..End::default() });
                self.queue[listener as usize].push_back(end + 1);
            }
            Call::Accept { slot, listener, flags, form } => {
                if !self.listens[process] || (form == 0 && flags != 0) {
                    return None;
                }
                let listener = listener as usize;
                if self
                    .pending
                    .iter()
                    .flatten()
                    .any(|p| matches!(p.blocked, Blocked::Accept { listener: l, .. } if l == listener))
                {
                    return None;
                }
                self.free(process, slot)?;
                let (nonblock, cloexec) = (flags & libc::SOCK_NONBLOCK != 0, flags & libc::SOCK_CLOEXEC != 0);
                if self.queue[listener].is_empty() {
                    return Some(Some(Blocked::Accept { listener, slot: slot as usize, nonblock, cloexec }));
                }
                self.accept(process, listener, slot as usize, nonblock, cloexec);
            }
            Call::Close { slot, .. } => {
                self.settle_slot(process, slot as usize, &mut before.orders)?;
                self.drop_slot(process, slot as usize);
            }
            Call::Dup { slot, to, form } => {
                let open = (*self.slots[process].get(slot as usize)?)?;
                let Thing::End(end) = open.thing else { return None };
                let onto = *self.slots[process].get(to as usize)?;
                if slot == to || (onto.is_some() && !matches!(form, 1 | 2)) {
                    return None;
                }
                if onto.is_none() {
                    self.free(process, to)?;
                }
                if let Some(onto) = onto {
                    // Onto another descriptor of the same end: a registration by the old one would be that of the new one.
                    if onto.thing == open.thing {
                        return None;
                    }
                    self.settle_slot(process, to as usize, &mut before.orders)?;
                    self.drop_slot(process, to as usize);
                }
                self.slots[process][to as usize] = Some(Open { thing: open.thing, cloexec: matches!(form, 2 | 4) });
                self.ends[end].descriptors += 1;
            }
            Call::Nonblock { slot, on, .. } => {
                let end = self.end_at(process, slot)?;
                self.settled(end)?;
                self.ends[end].nonblock = on != 0;
            }
            Call::Option { slot, what, value } => {
                let end = self.end_at(process, slot)?;
                self.calm(end)?;
                self.settled(end)?;
                if what == 1 && value == 0 {
                    self.release(end);
                }
                let state = &mut self.ends[end];
                match what {
                    1 => state.cork = value != 0,
                    4 => state.linger = value != 0,
                    5 => state.timeout = value != 0,
                    6 if !(1..=ROOM / 2).contains(&value) => return None,
                    // It leaves the ring, and a registration that has fired begins anew.
                    6 if self.has_spent(end) => return None,
                    6 => {
                        self.unwatched(end)?;
                        self.settle(process, end, true, &mut before.orders)?;
                        // What is in the ring is given out as it is (docs/compatibility.md).
                        if value > 1 && self.ends[end].unread > 0 {
                            return None;
                        }
                        self.ends[end].lowat = value;
                        self.changed(end);
                    }
                    _ => {}
                }
            }
            Call::Ask { slot, what } => {
                let end = self.end_at(process, slot)?;
                if what < 3 {
                    self.calm(end)?;
                    self.unwatched(end)?;
                    // What was not acknowledged when a reset came stays so.
                    if self.ends[end].held || (what == 1 && (self.ends[end ^ 1].held || self.ends[end].reset)) {
                        return None;
                    }
                    self.settle(process, end, true, &mut before.orders)?;
                }
            }
            _ => return None,
        }
        Some(None)
    }

    pub(super) fn put(&mut self, process: usize, slot: i32, thing: Thing, cloexec: bool) -> Option<()> {
        self.free(process, slot)?;
        self.slots[process][slot as usize] = Some(Open { thing, cloexec });
        Some(())
    }

    /// A slot that is empty, and not that of an accept under way.
    pub(super) fn free(&self, process: usize, slot: i32) -> Option<()> {
        let place = usize::try_from(slot).ok().filter(|place| *place < SLOTS)?;
        let taken = (0..ACTORS).filter(|actor| process_of(*actor) == process).any(|actor| {
            matches!(&self.pending[actor], Some(Pending { blocked: Blocked::Accept { slot, .. }, .. }) if *slot == place)
        });
        (self.slots[process][place].is_none() && !taken).then_some(())
    }

    pub(super) fn accept(&mut self, process: usize, listener: usize, slot: usize, nonblock: bool, cloexec: bool) {
        if let Some(end) = self.queue[listener].pop_front() {
            self.slots[process][slot] = Some(Open { thing: Thing::End(end), cloexec });
            let state = &mut self.ends[end];
            (state.queued, state.descriptors, state.nonblock) = (false, 1, nonblock);
        }
    }

    pub(super) fn drop_slot(&mut self, process: usize, slot: usize) {
        let Some(open) = self.slots[process][slot].take() else { return };
        match open.thing {
            Thing::End(end) => {
                self.ends[end].descriptors -= 1;
                if self.ends[end].descriptors > 0 {
                    for set in self.sets.iter_mut().filter(|set| set.process == process) {
                        set.stale |= set.members.iter().any(|member| member.end == end && member.slot == slot);
                    }
                }
                self.bury(end);
            }
            Thing::Set(set) => self.sets[set].descriptors -= 1,
        }
    }

    /// The last descriptor of an end may be gone, and no call is inside.
    pub(super) fn bury(&mut self, end: usize) {
        let inside = self.pending.iter().flatten().any(|pending| match &pending.blocked {
            Blocked::Recv { end: e, .. } => *e == end,
            Blocked::Poll { slots, .. } => slots.iter().any(|(_, e)| *e == end),
            _ => false,
        });
        let state = &mut self.ends[end];
        if state.descriptors > 0 || state.queued || state.dead || inside {
            return;
        }
        state.dead = true;
        let (ended, reset) = (state.wr_shut && state.fin, state.unread > 0 || state.linger);
        let (silent, was_shut) = (state.reset || ended, state.wr_shut);
        state.wr_shut = true;
        self.release(end);
        for set in &mut self.sets {
            set.members.retain(|member| member.end != end);
        }
        if silent {
        } else if reset {
            self.reset_to(end ^ 1);
        } else if !was_shut {
            self.fin_to(end ^ 1);
        }
    }

    /// Orders that make what has happened to an end visible to a process, through any of its descriptors.
    pub(super) fn settle(&mut self, process: usize, end: usize, data: bool, orders: &mut Vec<Order>) -> Option<()> {
        let state = &self.ends[end];
        if state.flooded || !(state.new_end || (data && state.new_data)) {
            return Some(());
        }
        let slot = (0..SLOTS).find(|slot| self.end_at(process, *slot as i32) == Some(end))? as i32;
        let mut order = |call, number| {
            let mut argument = [0; ARGUMENTS];
            argument[..2].copy_from_slice(&[slot, number]);
            orders.push((call, argument));
        };
        // A reader that waits for more has taken what was there.
        let read = |p: &Pending| matches!(p.blocked, Blocked::Recv { end: e, .. } if e == end);
        if data && state.new_data && !state.held && !self.pending.iter().flatten().any(read) {
            order(SETTLE_DATA, state.unread);
        }
        if state.new_end {
            order(SETTLE_END, i32::from(state.reset));
        }
        let state = &mut self.ends[end];
        state.new_end = false;
        state.new_data &= !data;
        Some(())
    }

    /// The same before a descriptor goes: whether bytes are unread then decides how the peer learns of it.
    pub(super) fn settle_slot(&mut self, process: usize, slot: usize, orders: &mut Vec<Order>) -> Option<()> {
        match (*self.slots[process].get(slot)?)?.thing {
            Thing::End(end) => {
                self.calm(end)?;
                // Nor while bytes are held back, which a reset would take with it.
                if self.ends[end].held || self.ends[end ^ 1].held {
                    return None;
                }
                // A registration by a descriptor that goes, of an end that stays, is nobody's while a thread waits.
                let waits = |p: &Pending| matches!(p.blocked, Blocked::Wait { .. }) && self.concerns(&p.blocked, end);
                if self.ends[end].descriptors > 1 && self.pending.iter().flatten().any(waits) {
                    return None;
                }
                // The same of what Nagle holds back.
                let (own, peer) = (&self.ends[end], &self.ends[end ^ 1]);
                if own.nagle && peer.new_data && (own.unread > 0 || own.linger) {
                    return None;
                }
                // Of several messages the later ones are received by the number, whatever it then names.
                let several =
                    |p: &Pending| matches!(p.blocked, Blocked::Recv { end: e, into: RECVMMSG, .. } if e == end);
                if self.pending.iter().flatten().any(several) {
                    return None;
                }
                // A poll that sleeps on a descriptor that another thread closes is told of it now, or when it wakes.
                let asleep = |p: &Pending| {
                    !self.concerns(&p.blocked, end) || (p.asleep && !matches!(p.blocked, Blocked::Poll { .. }))
                };
                if !self.pending.iter().flatten().all(asleep) {
                    return None;
                }
                if self.pending.iter().flatten().any(|p| {
                    matches!(p.blocked, Blocked::Echo { .. } | Blocked::Pump { .. }) && self.concerns(&p.blocked, end)
                }) {
                    return None;
                }
                self.settle(process, end, true, orders)
            }
            Thing::Set(set) => {
                // A blocked wait on a set that goes is left alone.
                let waits =
                    self.pending.iter().flatten().any(|p| matches!(p.blocked, Blocked::Wait { set: s } if s == set));
                (!waits).then_some(())
            }
        }
    }
}
