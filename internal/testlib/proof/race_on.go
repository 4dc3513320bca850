//go:build race

package proof

// Race: the race detector is on. Proofs that only one goroutine works for, and
// those of memory, run a share with it or nothing, and whole without it: test.sh
// does both.
const Race = true
