package store

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
)

// suiteTogether: new messages of one transaction share its statements, and
// each gets its own answer: one that is new, one of which the key or the content
// comes twice, one whose record is gone.
func suiteTogether(t *testing.T, open func(*testing.T, *memContents) backend) {
	c := &memContents{}
	s := open(t, c).(*Store)
	var recs []*quarantine.Record
	for i := range 3*mostRows - 1 { // two whole statements, and one that is not
		recs = append(recs, record(t, s, c, i, fmt.Sprint("body", i), "Policy", "Virus"))
	}
	twin := record(t, s, c, 900, "body0", "Policy")
	again := record(t, s, c, 1, "body1", "Policy", "Virus")
	gone := record(t, s, c, 901, "body901", "Policy")
	err := s.do(ctx, false, func(t *tx) error {
		return t.exec("INSERT INTO known (key, mid, at) VALUES ($1, 77, 1)", string(gone.Key))
	})
	if err != nil {
		t.Fatal(err)
	}
	type answer struct {
		mid      mail.MID
		existing bool
	}
	all := append(recs, twin, again, gone)
	got := make([]answer, len(all))
	var wg sync.WaitGroup
	shut, release := make(chan struct{}), make(chan struct{})
	wg.Go(func() {
		if err := s.do(ctx, false, func(*tx) error { close(shut); <-release; return nil }); err != nil {
			t.Error(err)
		}
	})
	<-shut
	for i, r := range all {
		wg.Go(func() {
			var err error
			if got[i].mid, got[i].existing, err = s.Add(ctx, r); err != nil {
				t.Errorf("record %d: %v", i, err)
			}
		})
	}
	until(t, func() bool { return len(s.w.jobs) == len(all) })
	close(release)
	wg.Wait()
	for i, r := range all {
		want := answer{r.MID, false}
		switch r {
		case gone:
			want = answer{77, true}
		case recs[1], again: // either may be first
			if want.mid = got[1].mid; got[1].existing == got[len(recs)+1].existing {
				t.Errorf("of a key that came twice: %+v and %+v", got[1], got[len(recs)+1])
			}
			want.existing = got[i].existing
		}
		if got[i] != want {
			t.Errorf("record %d: %+v, want %+v", i, got[i], want)
		}
	}
	if c.len() != len(recs) {
		t.Errorf("%d objects kept for %d contents", c.len(), len(recs))
	}
	if one, two := load(t, s, recs[0].MID), load(t, s, twin.MID); one.Content != two.Content || one.Content == "" {
		t.Errorf("the same content is in %q and %q", one.Content, two.Content)
	}
	counts, err := s.Counts(ctx)
	if err != nil || len(counts) != 2 || counts[0].Messages != int64(len(recs)+1) || counts[1].Messages != int64(len(recs)) {
		t.Errorf("%+v %v", counts, err)
	}
	// The very record once more: its answer was lost.
	lost := *recs[2]
	lost.Content, _, _, _ = c.Put(ctx, strings.NewReader("body2"))
	if mid, existing, err := s.Add(ctx, &lost); err != nil || !existing || mid != lost.MID || c.len() != len(recs) {
		t.Errorf("the same record again: %d, %v, %v, %d objects", mid, existing, err, c.len())
	}
	change(t, s, true, remove(load(t, s, recs[0].MID)))
	if load(t, s, twin.MID).Content == "" || c.len() != len(recs) {
		t.Error("content that another message has too went with the first")
	}
}
