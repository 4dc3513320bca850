// Package disk stands between what must not be lost and the file system.
//
// It is not a store: it knows neither messages nor records. It has three
// things that all stores need. Replace puts a small file in place of another,
// durably. Engine guards the key-value engine against faults of its own and
// makes it wait, not fail, where the disk is full. A Watch knows how the disk
// is, says so in the log when that changes, and tells those who ask whether
// anything may be begun.
//
// It promises that a full disk costs no process its life once its store is
// open: what was being written waits until there is room, and nobody is told
// that it was done before it is. It never hides or repeats a sync that failed
// (rule Q-2): what the disk holds then is not known.
package disk
