//! poll, select, epoll, and who waits for what.

use super::*;

impl Model {
    pub(super) fn readiness(&mut self, actor: Actor, call: &Call, before: &mut Before) -> Option<Option<Blocked>> {
        let process = process_of(actor);
        match *call {
            Call::Poll { slots, events, ms, form } => {
                let places: Vec<_> = (0..SLOTS).filter(|place| slots & 1 << place != 0).collect();
                let ends: Option<Vec<_>> =
                    places.iter().map(|place| Some((*place, self.end_at(process, *place as i32)?))).collect();
                let ends = ends?;
                if slots >> SLOTS != 0 || events & !0x2007 != 0 || (form >= 2 && events & 0x2000 != 0) {
                    return None;
                }
                for &(_, end) in &ends {
                    self.unwatched(end)?;
                    if self.ends[end].held || self.ends[end].flooded {
                        return None;
                    }
                    self.settle(process, end, true, &mut before.orders)?;
                }
                if ms < 0 {
                    if ends.is_empty() || ends.iter().any(|(_, end)| self.is_ready(*end, events, form >= 2)) {
                        return None;
                    }
                    let events = if form >= 2 { events | 1 << 30 } else { events };
                    return Some(Some(Blocked::Poll { slots: ends, events }));
                }
            }
            Call::Set { slot } => {
                let set = self.sets.len();
                self.put(process, slot, Thing::Set(set), true)?;
                self.sets.push(Set { process, descriptors: 1, ..Set::default() });
            }
            Call::Control { set, op, slot, events, .. } => {
                let set = self.set_at(process, set)?;
                let end = self.end_at(process, slot)?;
                self.calm(end)?;
                self.unwatched(end)?;
                // A wait may be under way; what is held back comes when it comes.
                if self.ends[end].held {
                    return None;
                }
                if self.sets[set].stale || events & !0x4000_0000 & !(0x2007 | libc::EPOLLET) != 0 {
                    return None;
                }
                // Whether something came before or after it was added is no accident.
                self.settle(process, end, true, &mut before.orders)?;
                let members = &mut self.sets[set].members;
                let place = members.iter().position(|member| member.end == end && member.slot == slot as usize);
                match (op, place) {
                    (1, None) if members.iter().any(|member| member.end == end) => return None,
                    (1, None) => members.push(Member { slot: slot as usize, end, events, armed: true, edge: true }),
                    (2, Some(place)) => drop(members.remove(place)),
                    (3, Some(place)) => {
                        members[place] = Member { slot: slot as usize, end, events, armed: true, edge: true }
                    }
                    // An error, which changes nothing.
                    (1..=3, _) => {}
                    _ => return None,
                }
            }
            Call::Wait { set, most, ms, .. } => {
                let set = self.set_at(process, set)?;
                if most != 16
                    || self.sets[set].stale
                    || self.pending.iter().flatten().any(|p| matches!(p.blocked, Blocked::Wait { set: s } if s == set))
                {
                    return None;
                }
                for member in self.sets[set].members.clone() {
                    self.unwatched(member.end)?;
                    if self.ends[member.end].held || self.ends[member.end].flooded {
                        return None;
                    }
                    self.settle(process, member.end, true, &mut before.orders)?;
                }
                if ms < 0 {
                    // An edge may be told once more when its connection moves, and then ends the wait.
                    let edges = self.sets[set].members.iter().any(|member| member.events & libc::EPOLLET != 0);
                    if edges || !self.is_quiet(set) {
                        return None;
                    }
                    return Some(Some(Blocked::Wait { set }));
                }
                self.harvest(set);
            }
            _ => return None,
        }
        Some(None)
    }

    /// No blocked call waits for what comes to this end.
    pub(super) fn unwatched(&self, end: usize) -> Option<()> {
        self.pending.iter().flatten().all(|pending| !self.concerns(&pending.blocked, end)).then_some(())
    }

    /// No call is under way of which it is unknown whether it has begun.
    pub(super) fn settled(&self, end: usize) -> Option<()> {
        self.pending.iter().flatten().all(|p| p.asleep || !self.concerns(&p.blocked, end)).then_some(())
    }

    pub(super) fn concerns(&self, blocked: &Blocked, end: usize) -> bool {
        match blocked {
            Blocked::Recv { end: e, .. } => *e == end,
            Blocked::Echo { end: e, .. } | Blocked::Pump { end: e, .. } => *e | 1 == end | 1,
            Blocked::Poll { slots, .. } => slots.iter().any(|(_, e)| *e == end),
            Blocked::Wait { set } => self.sets[*set].members.iter().any(|member| member.end == end),
            Blocked::Accept { .. } => false,
        }
    }

    pub(super) fn has_spent(&self, end: usize) -> bool {
        self.sets.iter().any(|set| set.members.iter().any(|member| member.end == end && !member.armed))
    }

    pub(super) fn watching(&self, end: usize) -> bool {
        self.sets.iter().any(|set| set.members.iter().any(|member| member.end == end))
    }

    pub(super) fn changed(&mut self, end: usize) {
        self.changed_by(end, -1);
    }

    pub(super) fn changed_by(&mut self, end: usize, events: i32) {
        for set in &mut self.sets {
            for member in set.members.iter_mut().filter(|member| member.end == end && member.events & events != 0) {
                member.edge = true;
            }
        }
    }

    pub(super) fn is_ready(&self, end: usize, events: i32, select: bool) -> bool {
        let state = &self.ends[end];
        let input = state.unread >= state.lowat || state.fin || state.rd_shut || state.reset;
        let hup = state.reset || (state.wr_shut && (state.fin || state.rd_shut));
        (events & libc::EPOLLIN != 0 && input)
            || events & libc::EPOLLOUT != 0
            || (events & libc::EPOLLRDHUP != 0 && (state.fin || state.rd_shut || state.reset))
            || (hup && !select)
    }

    pub(super) fn fires(&self, member: &Member) -> bool {
        member.armed
            && self.is_ready(member.end, member.events, false)
            && (member.events & libc::EPOLLET == 0 || member.edge)
    }

    pub(super) fn is_quiet(&self, set: usize) -> bool {
        let set = &self.sets[set];
        // What is edge-triggered may hold more edges than are known here.
        !set.stale && set.members.iter().all(|member| !self.fires(member))
    }

    pub(super) fn harvest(&mut self, set: usize) {
        let fired: Vec<_> = self.sets[set].members.iter().map(|member| self.fires(member)).collect();
        for (member, fired) in self.sets[set].members.iter_mut().zip(fired) {
            member.edge = false;
            if fired && member.events & libc::EPOLLONESHOT != 0 {
                member.armed = false;
            }
        }
    }
}
