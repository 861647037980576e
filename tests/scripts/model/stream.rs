//! What passes over connections.

use super::*;

impl Model {
    pub(super) fn stream(&mut self, actor: Actor, call: &Call, before: &mut Before) -> Option<Option<Blocked>> {
        let process = process_of(actor);
        match *call {
            Call::Send { slot, size, flags, out } => {
                let end = self.end_at(process, slot)?;
                before.end = end;
                self.calm(end)?;
                self.settle(process, end, false, &mut before.orders)?;
                self.sends(end, size, flags, out)?;
            }
            Call::Recv { slot, size, flags, into } => {
                let end = self.end_at(process, slot)?;
                before.end = end;
                self.calm(end)?;
                self.unwatched(end)?;
                // A receive of no bytes that has to wait ends with whatever wakes it, with nothing.
                if size == 0 && (self.ends[end].timeout || self.ends[end].reset) {
                    return None;
                }
                // Messages of no bytes each.
                if into == 6 && size < 2 {
                    return None;
                }
                if self.ends[end].held
                    || (matches!(into, 1..=3) && flags != 0)
                    || (into == 7 && (flags & !libc::MSG_DONTWAIT != 0 || size == 0))
                {
                    return None;
                }
                let outcome = self.outcome(end, size, flags, into, false);
                // A reader that waits for all of it, and gets it, needs no settling: it waits.
                let waits = flags & libc::MSG_WAITALL != 0
                    && matches!(self.outcome(end, size, flags, into, true), Outcome::Takes(_));
                if !waits || self.ends[end].new_end {
                    self.settle(process, end, true, &mut before.orders)?;
                }
                match outcome {
                    Outcome::Blocks if size == 0 => return None,
                    // Having taken part of it, it is woken for no fewer than SO_RCVLOWAT more: whether the last are as many
                    // depends on when it took the first. After an own shutdown, of which the acknowledgement wakes it, too,
                    // for fewer.
                    Outcome::Blocks
                        if self.ends[end].lowat > 1
                            && (flags & libc::MSG_WAITALL != 0
                                || self.ends[end].unread > 0
                                || self.ends[end].wr_shut) =>
                    {
                        return None;
                    }
                    Outcome::Blocks => return Some(Some(Blocked::Recv { slot, end, size, flags, into })),
                    Outcome::Takes(count) => self.ends[end].unread -= count,
                }
            }
            Call::Shutdown { slot, how } => {
                let end = self.end_at(process, slot)?;
                self.calm(end)?;
                // A receive that SO_RCVLOWAT holds back looks again when anything happens to its socket, by accident.
                let held_back = |p: &Pending| matches!(p.blocked, Blocked::Recv { end: e, .. } if e == end);
                if self.ends[end].lowat > 1 && self.pending.iter().flatten().any(held_back) {
                    return None;
                }
                // What the sender's kernel holds back would be refused when it comes; and so what is still on its way, which
                // over TCP is the eleventh of small messages: the congestion window counts them.
                if self.ends[end].held {
                    return None;
                }
                self.settle(process, end, how != 1, &mut before.orders)?;
                if how != 1 {
                    self.ends[end].rd_shut = true;
                }
                if how != 0 && !self.ends[end].wr_shut {
                    self.ends[end].wr_shut = true;
                    self.release(end);
                    self.fin_to(end ^ 1);
                }
                self.changed(end);
            }
            Call::Lead { slot, size, count } => {
                let end = self.end_at(process, slot)?;
                before.end = end;
                self.whole(end)?;
                let peer = self.pending.iter_mut().flatten().find(
                    |p| matches!(p.blocked, Blocked::Echo { end: e, size: s, count: c } if e == end ^ 1 && s == size && c == count),
                )?;
                peer.due = true;
            }
            Call::Echo { slot, size, count } => {
                let end = self.end_at(process, slot)?;
                before.end = end;
                self.whole(end)?;
                self.unwatched(end)?;
                self.unwatched(end ^ 1)?;
                if !(1..=ROOM / 2).contains(&size) || !(1..=100).contains(&count) {
                    return None;
                }
                return Some(Some(Blocked::Echo { end, size, count }));
            }
            Call::Pump { slot, send, take, chunk, .. } => {
                let end = self.end_at(process, slot)?;
                before.end = end;
                self.whole(end)?;
                if chunk <= 0 || chunk > crate::page::BUFFER as i32 || send < 0 || take < 0 || send + take == 0 {
                    return None;
                }
                if let Some(peer) = self.pending.iter_mut().flatten().find(
                    |p| matches!(p.blocked, Blocked::Pump { end: e, send: s, take: t } if e == end ^ 1 && s == take && t == send),
                ) {
                    peer.due = true;
                    self.changed(end);
                    self.changed(end ^ 1);
                } else {
                    self.unwatched(end)?;
                    self.unwatched(end ^ 1)?;
                    return Some(Some(Blocked::Pump { end, send, take }));
                }
            }
            Call::Fill { slot, chunk } => {
                let end = self.end_at(process, slot)?;
                before.end = end;
                self.whole(end)?;
                self.unwatched(end)?;
                self.unwatched(end ^ 1)?;
                if chunk <= 0 || chunk > crate::page::BUFFER as i32 || self.watching(end) || self.watching(end ^ 1) {
                    return None;
                }
                self.ends[end ^ 1].flooded = true;
            }
            Call::Drain { slot } => {
                let end = self.end_at(process, slot)?;
                before.end = end;
                if !self.ends[end].flooded {
                    return None;
                }
                self.ends[end].flooded = false;
            }
            _ => return None,
        }
        Some(None)
    }

    /// What a receive does.
    pub(super) fn outcome(&self, end: usize, size: i32, flags: i32, into: i32, asleep: bool) -> Outcome {
        let state = &self.ends[end];
        let first = if into == 6 { size / 2 } else { size };
        let least = match into {
            7 => 1,
            _ if flags & libc::MSG_WAITALL != 0 => first.max(1),
            _ => state.lowat.min(first).max(1),
        };
        // Nobody is woken for less than SO_RCVLOWAT.
        let least = if asleep { least.max(state.lowat) } else { least };
        // SPLICE_F_NONBLOCK concerns the pipe alone.
        // O_NONBLOCK is looked at when a call begins.
        let at_once = !asleep && (state.nonblock || (flags & libc::MSG_DONTWAIT != 0 && into != 7) || state.timeout);
        let ended = state.fin || state.reset || state.rd_shut;
        // read of no bytes is none.
        let idle = size == 0 && matches!(into, 1..=3);
        if state.unread < least && !at_once && !ended && !idle {
            return Outcome::Blocks;
        }
        Outcome::Takes(if flags & libc::MSG_PEEK != 0 { 0 } else { state.unread.min(size) })
    }

    pub(super) fn sends(&mut self, end: usize, size: i32, flags: i32, out: i32) -> Option<()> {
        let peer = end ^ 1;
        if !(0..=ROOM).contains(&size) || (matches!(out, 1..=3 | 7 | 8) && flags != 0) || (out == 8 && size == 0) {
            return None;
        }
        let from = &self.ends[end];
        if from.wr_shut || from.reset || size == 0 {
            // An error, or nothing.
            return (flags & libc::MSG_MORE == 0).then_some(());
        }
        if self.ends[peer].dead || (self.ends[peer].rd_shut && self.ends[peer].wr_shut) {
            // The reset comes before the second message, or after it.
            if flags & libc::MSG_MORE != 0 || from.cork || out == 6 {
                return None;
            }
            self.reset_to(end);
            if !self.ends[peer].dead {
                self.reset_to(peer);
            }
            return Some(());
        }
        if self.ends[peer].unread + size > ROOM {
            return None;
        }
        let holds = flags & libc::MSG_MORE != 0 || from.cork;
        let counted = self.pending.iter().flatten().any(|pending| {
            matches!(pending.blocked, Blocked::Recv { end: e, flags, into, .. }
                if e == peer && (flags & libc::MSG_WAITALL == 0 || into == 6))
        });
        // A reader that is woken by a part of it returns with that part; so do several messages with what they have not read.
        if counted && (holds || self.ends[peer].unread + size > ATOMIC || matches!(out, 6..=8)) {
            return None;
        }
        // Nobody waits while bytes are held back: how long that takes is nobody's promise.
        if holds && self.unwatched(peer).is_none() {
            return None;
        }
        self.ends[peer].unread += size;
        self.ends[peer].held = holds;
        self.ends[peer].new_data = true;
        self.changed_by(peer, libc::EPOLLIN);
        Some(())
    }

    /// Nothing is known to be in the way of two ends that talk.
    pub(super) fn whole(&self, end: usize) -> Option<()> {
        self.calm(end)?;
        [end, end ^ 1]
            .into_iter()
            .all(|end| {
                let end = &self.ends[end];
                let ended = end.dead || end.fin || end.reset || end.rd_shut || end.wr_shut;
                let usual = end.lowat == 1 && !end.cork && !end.held && !end.queued;
                !ended && usual && end.unread == 0
            })
            .then_some(())
    }

    /// No call depends on how much of a connection's buffers is taken.
    pub(super) fn calm(&self, end: usize) -> Option<()> {
        (!self.ends[end].flooded && !self.ends[end ^ 1].flooded).then_some(())
    }

    /// What the kernel held back of this end's bytes goes.
    pub(super) fn release(&mut self, end: usize) {
        self.ends[end].cork = false;
        self.ends[end ^ 1].held = false;
    }

    pub(super) fn fin_to(&mut self, end: usize) {
        self.ends[end].fin = true;
        self.ends[end].new_end = true;
        self.changed(end);
    }

    pub(super) fn reset_to(&mut self, end: usize) {
        self.ends[end].reset = true;
        self.ends[end].new_end = true;
        self.changed(end);
    }
}
