// Package queue moves accepted messages to where they go: work queue,
// judgement, destinations, schedule, back-off, suspension. A quarantine, local
// or central, is a destination like any other host.
//
// It is not the store of the messages (Store), does not judge them
// (Processor), and speaks no protocol (Courier): the root plugs these in.
//
// It promises that a message given to it stays in the Store until each of its
// recipients is delivered, bounced or deleted; that a damaged message, or one
// that kills its worker, is set aside and the others flow (P5); that mail for
// a quarantine neither expires nor bounces (P3); and that what waits costs a
// slot of 24 bytes in memory, not a message.
//
// # How a message passes
//
// Add puts an Item, already durable, into the work queue. A worker gives it to
// the Processor, whose Routing names a destination for each recipient. Each
// (message, destination) becomes a slot in the destination's heap, ordered by
// the time it is due. Runs (one connection each) take tasks from their Feed and
// settle them; results are applied to the Store unsynced and synced together
// shortly after. In the plain case the judgement is not written down: it is
// repeated after a crash. Copies, placements and drops are written at once.
//
// # Locks
//
// Queue.mu guards the schedule and is held for moments only: never while
// something is read, written, judged or sent. A loaded message has a mutex of
// its own (entry.mu), which is taken without Queue.mu held.
package queue
