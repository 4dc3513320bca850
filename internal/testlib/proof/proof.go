// Package proof has what the durability proofs of several rooms share: how
// long they run, how they say what they did, and crash images.
//
// It imports no room, so that the tests of every room may use it.
package proof

import (
	"fmt"
	"os"
	"strconv"
	"testing"
)

// RoundsVar is the environment variable that makes the long tiers longer: a
// number of rounds, what a round is each test says.
const RoundsVar = "LAZARET_CRASH_ROUNDS"

// Rounds gives how many rounds to run: the number in RoundsVar, else short.
func Rounds(short int) int {
	if n, err := strconv.Atoi(os.Getenv(RoundsVar)); err == nil && n > 0 {
		return n
	}
	return short
}

// Line says how many trials a proof made, in the form that prove.sh collects:
//
//	proof: NAME trials=N violations=M
//
// It goes to stdout, which go test shows with -v only. A test that has failed
// has at least one violation; how many more nobody counts.
func Line(t testing.TB, name string, trials int) {
	violations := 0
	if t.Failed() {
		violations = 1
	}
	if trials == 0 {
		t.Errorf("%s: no trial was made: the test proves nothing", name)
	}
	fmt.Printf("proof: %s trials=%d violations=%d\n", name, trials, violations)
}

// Long reports whether RoundsVar asks for the long tier, in which nothing is
// left out.
func Long() bool { return os.Getenv(RoundsVar) != "" }
