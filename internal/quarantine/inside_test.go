package quarantine_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
)

// withFile is a body with one attachment, below a subject.
const withFile = "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n--b\r\n" +
	"Content-Type: application/pdf; name=\"=?koi8-r?B?097F1A==?=.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\r\nQUJDREVG\r\n--b--\r\n"

// putWhole takes in a message whose content is given whole.
func (w *world) putWhole(content string) mail.MID {
	w.t.Helper()
	d, _ := w.deposit("x", "Policy")
	d.Size, d.Hash = int64(len(content)), hashOf(content)
	d.Key = mail.NewKey(serial, d.GatewayMID, d.Hash)
	mid, _, err := w.s.Ingest(ctx, d, strings.NewReader(content))
	if err != nil {
		w.t.Fatal(err)
	}
	return mid
}

func named(text string) quarantine.Query {
	return quarantine.Query{Attachment: quarantine.Attachment{Name: quarantine.Text{Text: text}}}
}

// A message is found by what is attached to it, in the charset of the mail.
func TestIngestAttachments(t *testing.T) {
	w := newWorld(t)
	w.put("none", "Policy")
	mid := w.putWhole(withFile)
	m, err := w.s.Show(ctx, admin, mid)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Attachments) != 1 || m.Attached != 1 || m.Attachments[0].Name != "счет.pdf" || m.Attachments[0].Type != "application/pdf" || m.Attachments[0].Size != 6 || m.Attachments[0].Part != "2" {
		t.Errorf("%+v", m.Attachments)
	}
	if got := w.search(admin, named("СЧЕТ")); !slices.Equal(got, []mail.MID{mid}) {
		t.Errorf("found %v", got)
	}
}

// Content that ends too early ends the look at it too.
func TestIngestCutOff(t *testing.T) {
	w := newWorld(t)
	d, body := w.deposit("cut", "Policy")
	broken := errs.New(errs.Temporary, "the line is gone")
	if _, _, err := w.s.Ingest(ctx, d, io.MultiReader(bytes.NewReader(body[:10]), failing{broken})); !errors.Is(err, broken) {
		t.Error(err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// older is a store that keeps records as an earlier version did.
type older struct{ nothing }

func (o older) Add(ctx context.Context, r *quarantine.Record) (mail.MID, bool, error) {
	r.Attachments, r.Attached = nil, quarantine.NotLooked
	return o.nothing.Add(ctx, r)
}

// What an earlier version took in is looked into behind the upgrade; what cannot
// be read is not asked for again.
func TestLookInside(t *testing.T) {
	w := newWorld(t)
	w.withStore(older{w.db})
	mid, gone, lost := w.putWhole(withFile), w.putWhole(withFile+" "), w.putWhole(withFile+"  ")
	w.act(quarantine.Delete, admin, "", gone)
	r, err := w.db.Load(ctx, []mail.MID{lost})
	if err != nil || len(r) != 1 {
		t.Fatal(err)
	}
	if err := w.blobs.Delete(ctx, r[0].Content); err != nil {
		t.Fatal(err)
	}
	if m, err := w.s.Show(ctx, admin, mid); err != nil || m.Attachments != nil {
		t.Errorf("nobody looked, and it has %+v, %v", m.Attachments, err)
	}
	for _, want := range []int{1, 1, 0} {
		if n, err := w.s.LookInside(ctx, 1); err != nil || n != want {
			t.Errorf("looked into %d, %v, want %d", n, err, want)
		}
	}
	if got := w.search(admin, named("счет")); !slices.Equal(got, []mail.MID{mid}) {
		t.Errorf("found %v", got)
	}
	if m, err := w.s.Show(ctx, admin, lost); err != nil || m.Attachments != nil {
		t.Errorf("what cannot be read has %+v, %v", m.Attachments, err)
	}
}

// Addresses are shown as people write them; what was received stays beside it.
func TestShownAddresses(t *testing.T) {
	w := newWorld(t)
	d, body := w.deposit("x", "Policy")
	d.Envelope.From = mail.Address{Local: "info", Domain: "xn--bcher-kva.example"}
	d.Envelope.To = []mail.Address{{Local: "a", Domain: "example.org"}, {Local: "\u8acb\u6c42", Domain: "xn--p1ai"}}
	mid, _, err := w.s.Ingest(ctx, d, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	m, err := w.s.Show(ctx, admin, mid)
	if err != nil {
		t.Fatal(err)
	}
	if m.Sender != "info@xn--bcher-kva.example" || m.From() != "info@b\u00fccher.example" || m.Recipients[1] != "\u8acb\u6c42@xn--p1ai" || !slices.Equal(m.To(), []string{"a@example.org", "\u8acb\u6c42@\u0440\u0444"}) {
		t.Errorf("%+v", m)
	}
	if m, err := w.s.Show(ctx, admin, w.put("y", "Policy")); err != nil || m.SenderU != "" || m.RecipientsU != nil {
		t.Errorf("plain addresses have another form: %+v, %v", m, err)
	}
}

// The text of messages is searched where somebody asked for it, from then on.
func TestSearchText(t *testing.T) {
	w := newWorld(t)
	q := quarantine.Query{Body: quarantine.Text{Text: "Geheime  SACHE"}}
	w.put("before", "Policy")
	if _, err := w.s.Count(ctx, admin, q); !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), "search_text") {
		t.Errorf("a search in what nobody keeps: %v", err)
	}
	if err := w.s.Configure(quarantine.Defaults(), quarantine.Rules{Text: 1000}); err != nil {
		t.Fatal(err)
	}
	mid := w.putWhole("Subject: x\r\nContent-Type: text/plain; charset=utf-8\r\nMIME-Version: 1.0\r\n\r\neine geheime\r\nSache\r\n")
	far := w.putWhole("Subject: x\r\n\r\n" + strings.Repeat("word ", 300) + "geheime sache\r\n")
	if got := w.search(admin, q); !slices.Equal(got, []mail.MID{mid}) {
		t.Errorf("found %v", got)
	}
	q.Body.Not = true
	if got := w.search(admin, q); len(got) != 2 || got[0] != far {
		t.Errorf("without it %v", got)
	}
	w.act(quarantine.Delete, admin, "", mid)
	q.Body.Not, q.States = false, []quarantine.State{quarantine.Removed}
	if got := w.search(admin, q); got != nil {
		t.Errorf("the text outlives the message: %v", got)
	}
	if err := w.s.Configure(quarantine.Defaults(), quarantine.Rules{Text: 1 << 30}); err == nil {
		t.Error("a text without end was accepted")
	}
}
