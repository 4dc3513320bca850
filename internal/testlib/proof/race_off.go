//go:build !race

package proof

// Race: the race detector is off.
const Race = false
