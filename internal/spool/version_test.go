package spool

import (
	"os"
	"reflect"
	"testing"
	"time"

	"lazaret/internal/mail"
	"lazaret/internal/queue"
)

// What version 1 wrote is read: testdata has a record and a ledger entry of it,
// made of full, which then had none of the fields that version 2 added.
func TestFirstVersion(t *testing.T) {
	want := older()
	want.Params, want.Origin.User = mail.Params{EightBit: true}, ""
	for i := range want.Recipients {
		r := &want.Recipients[i]
		r.RcptParams, r.Warned = mail.RcptParams{}, 0
		r.Code, r.Status, r.Remote, r.Last = 0, "", "", time.Time{}
	}
	got, err := decodeRecord(midKey(keyRecord, 9), old(t, "v1.record"))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\n got %+v\nwant %+v", err, got, want)
	}
	sent, err := decodeSent([]byte("sK"), old(t, "v1.sent"))
	if err != nil || sent.Remote != "44" || !sent.At.Equal(time.Unix(1700000001, 0)) || sent.Params != want.Params ||
		len(sent.Recipients) != len(want.Recipients) || len(sent.Rcpt) != len(sent.Recipients) || sent.Origin != want.Origin {
		t.Errorf("%v, %+v", err, sent)
	}
}

// So is what version 2 wrote.
func TestSecondVersion(t *testing.T) {
	want := older()
	for i := range want.Recipients {
		r := &want.Recipients[i]
		r.Code, r.Status, r.Remote, r.Last = 0, "", "", time.Time{}
	}
	got, err := decodeRecord(midKey(keyRecord, 9), old(t, "v2.record"))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\n got %+v\nwant %+v", err, got, want)
	}
}

// fourth is what full was before version 5.
func fourth() *queue.Item {
	it := fifth()
	it.Placements[0].Matched = nil
	return it
}

// fifth is what full was before version 6.
func fifth() *queue.Item {
	it := sixth()
	it.Placements[1].Keep = 0
	return it
}

// sixth is what full was before version 8.
func sixth() *queue.Item {
	it := full()
	it.Route, it.Copied = mail.Route{}, false
	return it
}

// older is what full was before version 4.
func older() *queue.Item {
	it := fourth()
	it.Judged, it.Release.Held, it.Release.Step = mail.Judgement{}, nil, ""
	return it
}

// So is what version 3 wrote: records, the ledger, accounts.
func TestThirdVersion(t *testing.T) {
	want := older()
	got, err := decodeRecord(midKey(keyRecord, 9), old(t, "v3.record"))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\n got %+v\nwant %+v", err, got, want)
	}
	sent, err := decodeSent(nameKey(keySent, "K"), old(t, "v3.sent"))
	if err != nil || sent.Remote != "44" || sent.Params != want.Params || len(sent.Recipients) != len(want.Recipients) || sent.Placements != nil {
		t.Errorf("%v, %+v", err, sent)
	}
	a, err := decodeAccount(nameKey(keyReport, "a"), old(t, "v3.account"))
	if err != nil || a.Seq != 7 || len(a.Recipients) != len(want.Recipients) || a.Step != "" {
		t.Errorf("%v, %+v", err, a)
	}
}

// And what version 4 wrote, which had no matched content.
func TestFourthVersion(t *testing.T) {
	got, err := decodeRecord(midKey(keyRecord, 9), old(t, "v4.record"))
	if want := fourth(); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\n got %+v\nwant %+v", err, got, want)
	}
}

// And what version 5 wrote, in which no mail policy said how long.
func TestFifthVersion(t *testing.T) {
	got, err := decodeRecord(midKey(keyRecord, 9), old(t, "v5.record"))
	if want := fifth(); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\n got %+v\nwant %+v", err, got, want)
	}
}

// And what version 6 wrote: that a release was held again stood in words alone.
func TestSixthVersion(t *testing.T) {
	got, err := decodeRecord(midKey(keyRecord, 9), old(t, "v6.record"))
	if want := sixth(); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\n got %+v\nwant %+v", err, got, want)
	}
	for name, again := range map[string]bool{"v6.account": false, "v6.again.account": true} {
		a, err := decodeAccount(nameKey(keyReport, "a"), old(t, name))
		if err != nil || a.Seq != 7 || a.Again != again || a.Step == "" || len(a.Recipients) != len(full().Recipients) {
			t.Errorf("%s: %v, %+v", name, err, a)
		}
	}
}

// A version that is not known yet is refused, not guessed at.
func TestNewerVersion(t *testing.T) {
	key := midKey(keyRecord, 9)
	body, err := unseal(key, appendRecord(nil, key, full()))
	if err != nil {
		t.Fatal(err)
	}
	body[0] = recordVersion + 1
	if it, err := decodeRecord(key, seal(key, body)); err == nil {
		t.Errorf("read as %+v", it)
	}
}

func old(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
