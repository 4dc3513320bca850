package store

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"lazaret/internal/mail"
	"lazaret/internal/message"
	"lazaret/internal/quarantine"
)

// suiteInsides: what an earlier version brought is looked into once, newest
// first, and then found by its attachments.
func suiteInsides(t *testing.T, open func(*testing.T, *memContents) backend) {
	c := &memContents{}
	s := open(t, c)
	var recs []*quarantine.Record
	for i := range 4 {
		r := record(t, s, c, i, fmt.Sprint("body", i), "Policy")
		if r.Attachments, r.Attached = nil, quarantine.NotLooked; i == 3 {
			r.Attached = 0
		}
		add(t, s, r)
		recs = append(recs, r)
	}
	if i, ok := s.(interface{ indexNow() error }); ok { // one is indexed already, others wait
		if err := i.indexNow(); err != nil {
			t.Fatal(err)
		}
	}
	change(t, s, true, remove(recs[0])) // its content is gone
	todo := func(want ...*quarantine.Record) {
		t.Helper()
		var mids []mail.MID
		for _, r := range want {
			mids = append(mids, r.MID)
		}
		if got, err := s.NotLooked(ctx, 10); err != nil || !slices.Equal(got, mids) {
			t.Errorf("not looked into: %v, %v, want %v", got, err, mids)
		}
	}
	todo(recs[2], recs[1])
	files := []message.Attachment{{Part: "1", Names: []string{"請求書.PDF"}, Types: []string{"application/pdf"}, Size: 5000}}
	for range 2 { // the second time somebody else was first
		err := s.SetInside(ctx, []quarantine.Inside{{MID: recs[2].MID, Attachments: files, Attached: 3}, {MID: recs[1].MID, Attached: quarantine.Unreadable}})
		if err != nil {
			t.Fatal(err)
		}
	}
	todo()
	if got := load(t, s, recs[2].MID); got.Attached != 3 || !reflect.DeepEqual(got.Attachments, files) {
		t.Errorf("%d: %+v", got.Attached, got.Attachments)
	}
	if got := load(t, s, recs[1].MID); got.Attached != quarantine.Unreadable || got.Attachments != nil {
		t.Errorf("%d: %+v", got.Attached, got.Attachments)
	}
	for range 2 { // while it waits for the index, and from it
		got, err := find(s, quarantine.Query{Attachment: quarantine.Attachment{Name: quarantine.Text{Text: "求書.pdf", Op: quarantine.EndsWith}, Min: 4097}})
		if err != nil || !slices.Equal(got, []mail.MID{recs[2].MID}) {
			t.Errorf("%v, %v", got, err)
		}
		if i, ok := s.(interface{ indexNow() error }); ok {
			if err := i.indexNow(); err != nil {
				t.Fatal(err)
			}
		}
	}
}
