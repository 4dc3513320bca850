//go:build race

package spool

// raceEnabled: the race detector has its own idea of memory.
const raceEnabled = true
