package store

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"lazaret/internal/blob"
	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
)

// crashDir names the directory a child process works in until it is killed.
const crashDir = "LAZARET_STORE_CRASH_DIR"

// crashRounds sets the number of kills; without it a few are made.
const crashRounds = "LAZARET_CRASH_ROUNDS"

// place opens the real stores of a directory.
func place(dir string) (*Store, *blob.Store, *quarantine.Service, error) {
	key, err := blob.LoadKey(filepath.Join(dir, "content.key"))
	if err != nil {
		return nil, nil, nil, err
	}
	b, err := blob.Open(blob.Options{Dir: filepath.Join(dir, "content"), Key: key, MinFree: 1})
	if err != nil {
		return nil, nil, nil, err
	}
	s, err := Open(context.Background(), Options{Path: filepath.Join(dir, "quarantine.db"), Contents: b})
	if err != nil {
		return nil, nil, nil, err
	}
	svc, err := quarantine.New(quarantine.Options{Store: s, Contents: b, Sender: nobody{}, Log: nobody{}, Audit: nobody{}, Settings: quarantine.Defaults()})
	return s, b, svc, err
}

// crashDeposit is the deposit number n, the same in each life.
func crashDeposit(s *Store, n int) (quarantine.Deposit, []byte) {
	body := []byte(fmt.Sprintf("Subject: %d\r\n\r\n%s\r\n", n, strings.Repeat(strconv.Itoa(n%7), n%5000)))
	hash := hashOf(body)
	return quarantine.Deposit{MID: s.NextMID(), Key: mail.NewKey(serial, mail.MID(n), hash), Gateway: serial, GatewayMID: mail.MID(n),
		Size: int64(len(body)), Hash: hash, Envelope: mail.Envelope{To: []mail.Address{{Local: "b", Domain: "example.org"}}},
		Placements: []mail.Placement{{Quarantine: "Policy", Reason: "x"}}}, body
}

// crashChild takes deposits with many writers and says on stdout, one line
// each, what is acknowledged: "n mid", and "n deleted" for every fifth. The
// first number comes on stdin. It works until it is killed.
func crashChild(dir string) {
	s, _, svc, err := place(dir)
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	var first int
	fmt.Scan(&first)
	next := make(chan int)
	lines := make(chan string)
	for range 8 {
		go func() {
			for n := range next {
				d, body := crashDeposit(s, n)
				mid, _, err := svc.Ingest(context.Background(), d, bytes.NewReader(body))
				if err != nil {
					lines <- "error " + err.Error()
					return
				}
				lines <- fmt.Sprintf("%d %d", n, mid)
				if n%5 != 0 {
					continue
				}
				if out, err := svc.Delete(context.Background(), mail.System(), []mail.MID{mid}, ""); err != nil || out.Count != 1 {
					lines <- fmt.Sprint("error delete ", out, err)
				}
				lines <- fmt.Sprintf("%d deleted", n)
			}
		}()
	}
	go func() {
		for n := first; ; n++ {
			next <- n
		}
	}()
	for l := range lines {
		os.Stdout.WriteString(l + "\n") // one write a line: never torn between two
	}
}

// kill -9 at any moment: what was acknowledged is there once, under the number
// that was said, whole; what was deleted stays deleted; a repeat of anything
// gets the same number; and no content is left that nobody has.
func TestKill(t *testing.T) {
	rounds := 3
	if v, err := strconv.Atoi(os.Getenv(crashRounds)); err == nil {
		rounds = v
	} else if testing.Short() {
		rounds = 1
	}
	dir := t.TempDir()
	acked, deleted := map[int]mail.MID{}, map[int]bool{}
	last := 0
	for round := range rounds {
		last = crashRun(t, dir, last+1, acked, deleted)
		crashCheck(t, dir, last, acked, deleted)
		if t.Failed() {
			t.Fatalf("in round %d, %d acknowledged", round, len(acked))
		}
	}
	t.Logf("%d kills, %d acknowledged, %d deleted", rounds, len(acked), len(deleted))
}

// crashRun lets a child work and kills it after some acknowledgements; it gives
// the highest number begun, as far as known.
func crashRun(t *testing.T, dir string, first int, acked map[int]mail.MID, deleted map[int]bool) int {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashDir+"="+dir)
	cmd.Stdin, cmd.Stderr = strings.NewReader(strconv.Itoa(first)+"\n"), os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop, last := 20+rand.IntN(300), first
	sc := bufio.NewScanner(out)
	for i := 0; sc.Scan(); i++ { // to the end: what is in the pipe was acknowledged
		if i == stop {
			cmd.Process.Kill()
		}
		num, what, _ := strings.Cut(sc.Text(), " ")
		n, err := strconv.Atoi(num)
		if err != nil {
			t.Fatalf("child: %s", sc.Text())
		}
		last = max(last, n)
		if what == "deleted" {
			deleted[n] = true
		} else if mid, err := mail.ParseMID(what); err == nil {
			acked[n] = mid
		}
	}
	cmd.Wait()
	return last + 16 // those begun and not acknowledged
}

func crashCheck(t *testing.T, dir string, last int, acked map[int]mail.MID, deleted map[int]bool) {
	t.Helper()
	began := time.Now()
	s, b, svc, err := place(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		s.Close()
		b.Close()
	}()
	known, err := s.Known(ctx)
	if err != nil {
		t.Fatal(err)
	}
	swept, err := b.Sweep(ctx, known)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("start after kill %s, %d orphans", time.Since(began).Round(time.Millisecond), swept)
	for n := 1; n <= last; n++ {
		d, body := crashDeposit(s, n)
		mid, existing, err := svc.Ingest(ctx, d, bytes.NewReader(body)) // the gateway repeats what it is not sure of
		if err != nil {
			t.Fatal(err)
		}
		if was := acked[n]; was != 0 && (!existing || mid != was) {
			t.Errorf("%d was acknowledged as %d, a repeat gives %d, %v", n, was, mid, existing)
		}
		acked[n] = mid
		m, err := svc.Show(ctx, mail.System(), mid)
		if err != nil {
			t.Fatal(err)
		}
		if deleted[n] && m.State != "deleted" {
			t.Errorf("%d was deleted and is %s", n, m.State)
		}
		if m.State == "deleted" {
			deleted[n] = true
			continue
		}
		c, err := svc.Content(ctx, mail.System(), mid)
		if err != nil {
			t.Errorf("%d: %v", n, err)
			continue
		}
		if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, body) {
			t.Errorf("%d: content of %d bytes is %d, %v", n, len(body), len(got), err)
		}
		c.Close()
	}
	var rows, objects, counted int64
	s.read.QueryRow("SELECT COUNT(*) FROM message WHERE state = 0").Scan(&rows)
	s.read.QueryRow("SELECT COUNT(*) FROM content").Scan(&objects)
	s.read.QueryRow("SELECT messages FROM tally WHERE quarantine = 'Policy'").Scan(&counted)
	if u, err := s.Usage(ctx); err != nil || u.All.Messages != int64(counted) {
		t.Errorf("the pool counts %d, the quarantine %d, %v", u.All.Messages, counted, err)
	}
	if want := int64(len(acked) - len(deleted)); rows != want || objects != want || counted != want {
		t.Errorf("%d held, %d contents, %d counted; want %d", rows, objects, counted, want)
	}
}
