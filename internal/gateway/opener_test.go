package gateway

import (
	"context"
	"encoding/base64"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"lazaret/internal/config"
	"lazaret/internal/queue"
	"lazaret/internal/testlib"
	"lazaret/internal/testlib/files"
	"lazaret/internal/unpack/worker"
)

// testWorker is this test binary as the worker.
var testWorker = []string{"/proc/self/exe", "unpack-worker"}

// TestMain is the unpack worker when it is told to be; it dies of a file named die.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "unpack-worker" {
		os.Exit(worker.Main(func(name string, _ func(kind, detail string)) {
			if name == "die" {
				panic("as the test asked")
			}
		}))
	}
	os.Exit(m.Run())
}

// letterWith is a message with one attachment.
func letterWith(name string, data []byte) string {
	return "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhello\r\n--b\r\n" +
		"Content-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=\"" + name + "\"\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
		base64.StdEncoding.EncodeToString(data) + "\r\n--b--\r\n"
}

// A gateway looks into attachments for its filters, and for the engine's sake:
// what a real clamd calls clean, for it does not say what is locked, is tagged.
func TestAttachmentsAreOpened(t *testing.T) {
	s := testlib.NewClamd(t)
	w := newWorld(t, nil, func(c *config.Config) {
		policies(s.Socket)(c)
		c.Filters = `programs: if (attachment-filename == "\.exe$") { quarantine("Policy"); }`
	})
	w.inject("a@partner.example", letterWith("a.zip", files.Zip(t, files.Entry{Name: "b.zip", Data: files.Zip(t, files.Entry{Name: "evil.exe", Data: []byte("MZ")})})), nil, "x@other.example")
	w.until("it is held", func() bool { return len(w.placed()) == 1 })
	w.inject("a@partner.example", letterWith("a.pdf", files.PDF(t, "x", "<< /Encrypt 9 0 R >>")), nil, "x@other.example")
	w.until("it is delivered", func() bool { return len(w.mailbox.Messages()) == 1 })
	if got := w.placed(); !slices.Equal(got, []string{"Policy message filter:programs"}) {
		t.Errorf("%q", got)
	}
	if m := string(w.mailbox.Messages()[0].Content); !strings.Contains(m, "Subject: [WARNING: MESSAGE ENCRYPTED] x\r\n") {
		t.Errorf("%s", m)
	}
	want := []string{"MID 2 interim AV verdict using ClamAV CLEAN", "MID 2 interim AV verdict using Lazaret ENCRYPTED", "MID 2 antivirus encrypted"}
	if got := w.lines("MID 2 interim", "MID 2 antivirus"); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// Register A7: a message over which the worker dies is tried three times, counted
// on stable storage, and then parked as unscannable; others go on beside it.
func TestSEC_A7_DeadWorkers(t *testing.T) {
	w := newWorld(t, nil, func(c *config.Config) {
		paired(c)
		c.Filters = `programs: if (attachment-filename == "\.exe$") { quarantine("Policy"); }`
	})
	mid := w.inject("a@partner.example", letterWith("die", files.Zip(t)), nil, "x@other.example")
	tries := func() (n uint8) {
		if err := w.spool.Scan(context.Background(), func(it *queue.Item) error {
			if it.MID == mid && it.State == queue.Work {
				n = uint8(it.Tries)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for n := range 2 {
		w.until("a try is counted", func() bool { return int(tries()) == n+1 })
		w.shift.Add(int64(time.Minute))
		w.inject("a@partner.example", letterWith("a.zip", files.Zip(t)), nil, "x@other.example") // wakes the queue too
		w.until("another goes by", func() bool { return len(w.mailbox.Messages()) == n+1 })
	}
	w.until("it is parked", func() bool { return len(w.placed()) == 1 })
	want := "Policy unscannable: its judgement failed 3 times: its attachments could not be opened: unpack-died"
	if got := w.placed(); got[0] != want {
		t.Errorf("%q", got)
	}
	if got := strings.Count(w.log(), "judging MID "+mid.String()+": "); got != 3 {
		t.Errorf("%d lines about it in\n%s", got, w.log())
	}
}
