//! Processes and signals.

use super::*;

impl Model {
    pub(super) fn processes(&mut self, actor: Actor, call: &Call, before: &mut Before) -> Option<Option<Blocked>> {
        let process = process_of(actor);
        match *call {
            Call::Nap { .. } => return None,
            Call::Fork { child } => {
                let (child, made) = (child as usize, process_of(child as usize));
                // A number is used once: what its process left in the page is nobody else's.
                if child != FIRST_CHILD + self.children || child >= ACTORS {
                    return None;
                }
                self.children += 1;
                self.alive[child] = true;
                self.listens[made] = self.listens[process];
                self.slots[made] = self.slots[process];
                for open in self.slots[made].into_iter().flatten() {
                    match open.thing {
                        Thing::End(end) => self.ends[end].descriptors += 1,
                        Thing::Set(set) => self.sets[set].descriptors += 1,
                    }
                }
            }
            Call::Exec { .. } => {
                if actor < FIRST_CHILD {
                    return None;
                }
                // Not seen to work: what is unread when its sender goes back to TCP by itself (docs/compatibility.md).
                let unread = |open: &Open| matches!(open.thing, Thing::End(end) if self.ends[end].unread > 0);
                if self.slots[process].iter().flatten().any(unread) {
                    return None;
                }
                let shut = |open: &Option<Open>| open.is_some_and(|open| open.cloexec);
                let places: Vec<_> = (0..SLOTS).filter(|place| shut(&self.slots[process][*place])).collect();
                for place in &places {
                    self.settle_slot(process, *place, &mut before.orders)?;
                }
                for place in places {
                    self.drop_slot(process, place);
                }
            }
            Call::Exit { .. } => {
                if actor < FIRST_CHILD {
                    return None;
                }
                before.orders = self.ends_of_process(actor, process)?;
            }
            _ => return None,
        }
        Some(None)
    }

    pub(super) fn ends_of_process(&mut self, actor: Actor, process: usize) -> Option<Vec<Order>> {
        let mut orders = Vec::new();
        let open: Vec<_> = (0..SLOTS).filter(|slot| self.slots[process][*slot].is_some()).collect();
        let blocked = self.pending[actor].take();
        for slot in &open {
            self.settle_slot(process, *slot, &mut orders)?;
        }
        // A thread that is blocked settles nothing.
        if blocked.is_some() && !orders.is_empty() {
            return None;
        }
        if let Some(pending) = &blocked
            && (!pending.asleep || matches!(pending.blocked, Blocked::Echo { .. } | Blocked::Pump { .. }))
        {
            return None;
        }
        // A receive that waits for all has taken what there was.
        if let Some(Pending { blocked: Blocked::Recv { end, flags, .. }, .. }) = &blocked
            && flags & libc::MSG_WAITALL != 0
            && flags & libc::MSG_PEEK == 0
        {
            self.ends[*end].unread = 0;
        }
        for slot in open {
            self.drop_slot(process, slot);
        }
        // What it was inside of.
        for end in 0..self.ends.len() {
            self.bury(end);
        }
        self.alive[actor] = false;
        Some(orders)
    }

    pub(super) fn kill(&mut self, actor: Actor) -> Option<Vec<Order>> {
        if actor < FIRST_CHILD {
            return None;
        }
        let process = process_of(actor);
        self.ends_of_process(actor, process)
    }

    pub(super) fn signal(&mut self, actor: Actor, interrupts: bool) -> Option<()> {
        let open = self.slots[process_of(actor)];
        let pending = self.pending[actor].as_mut()?;
        if !pending.asleep || pending.due {
            return None;
        }
        let ends = match &pending.blocked {
            Blocked::Recv { slot, end, flags, .. } => {
                let part = flags & libc::MSG_WAITALL != 0 && self.ends[*end].unread > 0;
                if part && self.ends[*end].new_data {
                    return None;
                }
                // What begins anew looks at its descriptor, at O_NONBLOCK and at SO_RCVTIMEO anew.
                let same = open[*slot as usize].is_some_and(|open| open.thing == Thing::End(*end));
                if !interrupts && (self.ends[*end].nonblock || self.ends[*end].timeout || !same) {
                    return None;
                }
                interrupts || part
            }
            Blocked::Accept { .. } => interrupts,
            Blocked::Poll { .. } | Blocked::Wait { .. } => true,
            Blocked::Echo { .. } | Blocked::Pump { .. } => return None,
        };
        pending.due = ends;
        pending.interrupted = ends;
        Some(())
    }
}
