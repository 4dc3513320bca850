package match

import (
	"math/rand/v2"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// evil gives a random expression of what makes engines slow or large: nested
// and counted repetitions, alternatives that overlap, wide classes.
func evil(rnd *rand.Rand, depth int) string {
	if depth == 0 || rnd.IntN(6) == 0 {
		atoms := [...]string{"a", "aa", ".", "[a-z]", `\w`, "[^b]", `\s`, "(?i)k", `\p{L}`, "^", "$", `\b`, "ä", "[\x00-\U0010ffff]"}
		return atoms[rnd.IntN(len(atoms))]
	}
	x := evil(rnd, depth-1)
	switch rnd.IntN(8) {
	case 0:
		return "(" + x + ")*"
	case 1:
		return "(" + x + ")+"
	case 2:
		return "(" + x + ")?"
	case 3:
		return "(" + x + "){" + strconv.Itoa(1+rnd.IntN(60)) + "}"
	case 4:
		return "(" + x + "){0," + strconv.Itoa(1+rnd.IntN(1000)) + "}"
	case 5:
		return "(" + x + "|" + evil(rnd, depth-1) + ")*"
	case 6:
		return "(" + x + "|" + x + x + ")"
	}
	return x + evil(rnd, depth-1)
}

// Register C3: of LAZARET_PATTERNS (50) generated expressions each is refused, or it takes at
// most a megabyte and comes to its end on text that it nearly matches.
func TestSEC_C3_GeneratedPatterns(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 3))
	text := []byte(strings.Repeat("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaak ", 8) + "b")
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	const batch = 50
	n := 50
	if s := os.Getenv("LAZARET_PATTERNS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	taken, refused := 0, 0
	for range n / batch {
		before := heap()
		var kept []*regexp.Regexp
		for range batch {
			re, err := Compile(evil(rnd, 1+rnd.IntN(7)), rnd.IntN(2) == 0)
			if err != nil {
				if len(err.Error()) > 200 || strings.ContainsAny(err.Error(), "\r\n") {
					t.Errorf("refused with %q", err)
				}
				refused++
				continue
			}
			kept = append(kept, re)
		}
		if after := heap(); len(kept) > 0 && after > before && (after-before)/uint64(len(kept)) > 1<<20 {
			t.Errorf("%d expressions take %d KiB", len(kept), (after-before)>>10)
		}
		for _, re := range kept {
			re.FindAllIndex(text, 10)
		}
		taken += len(kept)
		runtime.KeepAlive(kept)
	}
	if taken < n/3 || refused < n/20 {
		t.Errorf("%d taken, %d refused: not what the test is about", taken, refused)
	}
}
