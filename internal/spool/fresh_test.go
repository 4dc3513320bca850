package spool

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"testing"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/queue"
)

// Contents that are kept and those that gave way are the same to a reader, what
// is kept is bounded, and nothing is kept of a message that left.
func TestFreshContent(t *testing.T) {
	s := opened4test(t)
	ctx := context.Background()
	body := func(mid mail.MID) []byte {
		size := maxFreshOne
		if mid%20 < 4 {
			size = []int{0, 1, 4096, maxFreshOne + 1}[mid%20]
		}
		return bytes.Repeat([]byte(fmt.Sprint(mid, " ")), size)[:size]
	}
	var all []*queue.Item
	for range 360 {
		it := sample(1)
		d, err := s.Receive(ctx, s.NextMID())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Write(body(d.mid)); err != nil {
			t.Fatal(err)
		}
		if err := d.Commit(ctx, it); err != nil {
			t.Fatal(err)
		}
		all = append(all, it)
		if s.fresh.size > maxFresh {
			t.Fatalf("%d octets are kept", s.fresh.size)
		}
	}
	if s.fresh.get(all[9].MID) != nil || s.fresh.size < maxFresh-maxFreshOne {
		t.Fatalf("nothing gave way: %d octets", s.fresh.size)
	}
	for _, it := range all {
		r, err := s.OpenSized(ctx, it.MID, it.Size)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, body(it.MID)) {
			t.Fatalf("MID %d: %d octets, %v", it.MID, len(got), err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Read(make([]byte, 1)); err == nil {
			t.Fatal("a closed content can be read")
		}
		if r, err = s.OpenSized(ctx, it.MID, it.Size+1); err == nil {
			if _, err = io.ReadAll(r); !errs.Is(err, errs.Damaged) {
				t.Fatalf("MID %d: a content of another size: %v", it.MID, err)
			}
		}
	}
	for _, it := range all {
		if err := s.Apply(ctx, queue.Update{Remove: []mail.MID{it.MID}, Final: []*queue.Item{it}}); err != nil {
			t.Fatal(err)
		}
	}
	if s.fresh.size != 0 || len(s.fresh.by) != 0 {
		t.Errorf("%d octets of %d messages are kept that left", s.fresh.size, len(s.fresh.by))
	}
	for i := range 2 * maxLine { // a small one that stays, and many that leave
		s.fresh.put(mail.MID(1_000_000+i), []byte("x"))
		if i > 0 {
			s.fresh.drop(mail.MID(1_000_000 + i))
		}
	}
	if len(s.fresh.line) > maxLine {
		t.Errorf("%d stand in line", len(s.fresh.line))
	}
}
