package gateway

import (
	"crypto/sha256"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"lazaret/internal/cpq"
	"lazaret/internal/mail"
	"lazaret/internal/queue"
)

// give away another message than that of newHostile.
func (x *hostile) gaveAway(t *testing.T, body string) {
	t.Helper()
	d, err := x.spool.Receive(t.Context(), x.nextMID())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(d, body); err != nil {
		t.Fatal(err)
	}
	it := &queue.Item{State: queue.Routed, Accepted: time.Now(), Prepend: []byte("Received: by us\r\n"), Recipients: []queue.Recipient{{Address: mail.Address{Local: "bob", Domain: "example.com"}}}}
	if err := d.Commit(t.Context(), it); err != nil {
		t.Fatal(err)
	}
	if err := x.spool.Apply(t.Context(), queue.Update{Remove: []mail.MID{it.MID}, Final: []*queue.Item{it}, Receipts: []queue.Receipt{{Item: it, Remote: "1", At: time.Now()}}}); err != nil {
		t.Fatal(err)
	}
	x.sent, x.body = it, body
}

// The gateway carries out what a release asks for: tag, header, no attachments.
// The content still has to be what it gave away, and a repeat does nothing.
func TestReleaseWithExtras(t *testing.T) {
	x := newHostile(t, nil)
	x.gaveAway(t, "Subject: Offer\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nHello\r\n--b\r\nContent-Type: application/pdf; name=a.pdf\r\n\r\nEVIL\r\n--b--\r\n")
	r := x.release(1)
	r.Cause = "queue full"
	r.Extras = []mail.Extras{{Tag: "[early]", Header: "X-Early", Value: "True"}, {Tag: "(stripped)", AtEnd: true, Strip: true}}
	if got := x.give(t, x.dial(t), r, "", "bob@example.com", strings.Replace(x.body, "EVIL", "GOOD", 1)); !strings.HasPrefix(got, "554 5.6.0 content is not ") {
		t.Errorf("other content: %q", got)
	}
	d := x.dial(t)
	got := x.give(t, d, r, "", "bob@example.com", x.body)
	if !strings.HasPrefix(got, "250 ") {
		t.Fatalf("%q", got)
	}
	if again := x.give(t, d, r, "", "bob@example.com", x.body); again != got {
		t.Errorf("a repeat is answered %q, not %q", again, got)
	}
	taken, _, err := x.spool.Action(r.Action)
	if err != nil {
		t.Fatal(err)
	}
	it, err := x.spool.Load(t.Context(), taken)
	if err != nil || it.Subject != "[early] Offer (stripped)" || string(it.Prepend) != "X-Early: True\r\nReceived: by us\r\n" {
		t.Fatalf("%+v %v", it, err)
	}
	c, err := x.spool.Open(t.Context(), it.MID)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if err != nil || c.Close() != nil {
		t.Fatal(err)
	}
	content := string(b)
	if !strings.HasPrefix(content, "Subject: [early] Offer (stripped)\r\nMIME-Version: 1.0\r\n") || strings.Contains(content, "EVIL") ||
		!strings.Contains(content, "Hello") || !strings.Contains(content, `The attachment "a.pdf" (application/pdf) was removed`) {
		t.Errorf("%s", content)
	}
	if it.Size != int64(len(b)) || it.Hash != sha256.Sum256(b) {
		t.Error("size and hash of the record are not those of the content")
	}
	if !strings.Contains(x.log(t), "MID "+it.MID.String()+" attachments stripped: 1\n") {
		t.Errorf("log:\n%s", x.log(t))
	}
	// Instructions that say what no quarantine can say are refused with the place.
	blk, _ := cpq.Encode(cpq.Metadata{Release: r})
	bad := strings.Replace(string(blk), "X-Early", "Subject", 1)
	if got := x.dial(t).Send("XCPQ " + strconv.Itoa(len(bad)) + "\r\n" + bad); !strings.HasPrefix(got, "554 5.6.0 metadata: extras: ") {
		t.Errorf("%q", got)
	}
}

// A header that is too large to be changed fails the release for good, with the
// reason: the message stays at the manager.
func TestExtrasTooLarge(t *testing.T) {
	x := newHostile(t, nil)
	x.gaveAway(t, strings.Repeat("X-Long: "+strings.Repeat("x", 900)+"\r\n", 400)+"\r\nbody\r\n")
	r := x.release(1)
	r.Extras = []mail.Extras{{Tag: "[early]"}}
	if got := x.give(t, x.dial(t), r, "", "bob@example.com", x.body); !strings.HasPrefix(got, "5") || !strings.Contains(got, "header is longer than 262144 bytes") {
		t.Errorf("%q", got)
	}
}
