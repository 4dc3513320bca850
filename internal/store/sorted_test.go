package store

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
)

// suitePaging: whoever turns pages sees each message once, in whatever order,
// while others come in at both ends and those of the page before are decided
// about.
func suitePaging(t *testing.T, open func(*testing.T, *memContents) backend) {
	c := &memContents{}
	s := open(t, c)
	n := 0
	put := func(exit time.Duration, subject string) *quarantine.Record {
		r := record(t, s, c, n, fmt.Sprint("body", n), "Policy")
		n++
		r.Display, r.Memberships[0].Exit = subject, start.Add(exit)
		add(t, s, r)
		return r
	}
	var want []mail.MID
	for i := range 12 {
		want = append(want, put(time.Duration(i%5)*time.Hour, fmt.Sprintf("m%02d", i%4)).MID)
	}
	for _, by := range []quarantine.Column{quarantine.BySubject, quarantine.ByExit, quarantine.BySize, quarantine.ByArrival} {
		for _, up := range []bool{true, false} {
			seen, moved := map[mail.MID]bool{}, mail.MID(0)
			q := quarantine.Query{By: by, Ascending: up, Limit: 3, States: []quarantine.State{quarantine.Held, quarantine.Removed}}
			for first := true; ; first = false {
				list, next, err := findOn(s, q)
				if err != nil {
					t.Fatal(err)
				}
				for _, mid := range list {
					if seen[mid] && (mid != moved || by != quarantine.ByExit) { // what was decided about has no exit time any more
						t.Errorf("by %s, up %v: %d comes twice", by, up, mid)
					}
					seen[mid] = true
				}
				if len(list) < q.Limit {
					break
				}
				if first {
					put(0, "a")
					put(100*time.Hour, "z")
					last := load(t, s, list[2]) // the place itself: it leaves, or leaves later
					if last.State == quarantine.Held {
						change(t, s, true, remove(last))
						moved = last.MID
					}
				}
				q.After = next
			}
			for _, mid := range want {
				if !seen[mid] {
					t.Errorf("by %s, up %v: %d is passed by", by, up, mid)
				}
			}
		}
	}
}

// The order does not tell of quarantines that somebody may not see.
func suiteHiddenOrder(t *testing.T, open func(*testing.T, *memContents) backend) {
	c := &memContents{}
	s := open(t, c)
	var mids []mail.MID
	for i, names := range [][]string{{"Policy", "Virus"}, {"Policy"}, {"Policy", "Outbreak"}} {
		r := record(t, s, c, i, fmt.Sprint("body", i), names...)
		for k := range r.Memberships {
			if r.Memberships[k].Exit = start.Add(time.Hour); k > 0 {
				r.Memberships[k].Exit = start.Add(time.Duration(i-1) * time.Minute)
			}
		}
		add(t, s, r)
		mids = append(mids, r.MID)
	}
	set := quarantine.Defaults()
	set[0].Users = []string{"gina"} // Policy
	svc, err := quarantine.New(quarantine.Options{Store: opener{s}, Contents: c, Sender: nobody{}, Log: nobody{}, Audit: nobody{}, Settings: set})
	if err != nil {
		t.Fatal(err)
	}
	for _, by := range []quarantine.Column{quarantine.ByExit, quarantine.ByQuarantine} {
		var got []mail.MID
		for m, err := range svc.Search(ctx, mail.Principal{Name: "gina", Role: mail.Guest}, quarantine.Query{By: by, Ascending: true}) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, m.MID)
		}
		if !slices.Equal(got, mids) {
			t.Errorf("by %s: %v, want %v", by, got, mids)
		}
	}
}

// What is too much to count is estimated, and said to be.
func TestCountEstimated(t *testing.T) {
	c := &memContents{}
	s := openSQLite(t, t.TempDir()+"/q.db", c)
	rng := rand.New(rand.NewPCG(3, 4))
	next, odd := mail.MID(1), int64(0)
	var wg sync.WaitGroup
	for i := range 3000 { // as if there were a million and most of them forgotten
		next += mail.MID(rng.IntN(600) + 1)
		r := record(t, s, c, i, fmt.Sprint("body", i), "Policy")
		if r.MID, r.Display = next, "even"; rng.IntN(4) == 0 {
			r.Display = "odd"
			odd++
		}
		wg.Go(func() { add(t, s, r) })
	}
	wg.Wait()
	for name, q := range map[string]quarantine.Query{"all": {}, "odd": {Subject: quarantine.Text{Text: "dd", Op: quarantine.EndsWith}}, "short": {Subject: quarantine.Text{Text: "o", Op: quarantine.StartsWith}}} {
		want := odd
		if name == "all" {
			want = 3000
		}
		got, err := counted(s, q)
		if err != nil || got.Exact != (name == "odd") || got.Messages < want*3/4 || got.Messages > want*5/4 || !got.Exact && rounded(got.Messages) != got.Messages {
			t.Errorf("%s: %+v, %v; there are %d", name, got, err, want)
		}
	}
	// what a quarantine holds is kept
	if got, err := counted(s, quarantine.Query{Quarantine: "Policy", States: []quarantine.State{quarantine.Held}}); err != nil || got != (quarantine.Total{Messages: 3000, Exact: true}) {
		t.Errorf("%+v, %v", got, err)
	}
	for n, want := range map[int64]int64{0: 0, 99: 99, 104: 100, 12_345: 12_000, 995_000: 1_000_000} {
		if got := rounded(n); got != want {
			t.Errorf("%d is about %d", n, got)
		}
	}
}
