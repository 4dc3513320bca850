package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"lazaret/internal/testlib"
	"lazaret/internal/testlib/proof"
)

// group is two managers on one database server and one bucket, and two gateways
// that know both.
type group struct {
	t        *testing.T
	dsn      string
	managers [2]endpoint
	live     [2]*plain
	gateways []endpoint
	sink     *takeAll

	mu       sync.Mutex
	held     map[string]bool   // markers of acknowledged mail that a filter holds
	decided  map[string]string // marker: release or delete, confirmed by a manager
	unsure   map[string]bool   // a decision about it was under way when its manager was killed
	expired  map[string]bool   // its exit time was put into the past
	confirms map[string]int    // how many said that they had decided about it
}

// newGroup makes them: as docs/database.md and docs/storage.md say it is done.
func newGroup(t *testing.T) *group {
	bucket := testlib.NewS3(t, testlib.S3Options{})
	p, err := testlib.StartPostgres()
	if err != nil {
		testlib.Absent(t, err)
	}
	t.Cleanup(func() { _ = p.End() })
	dir := filepath.Join(t.TempDir(), "d")
	first := start(t, dir)
	first.stop()
	g := &group{t: t, dsn: p.Database(t), gateways: first.Gateways, sink: newTakeAll(t, first.Mailbox.SMTP), held: map[string]bool{}, decided: map[string]string{},
		unsure: map[string]bool{}, expired: map[string]bool{}, confirms: map[string]int{}}
	for i, port := range testlib.FreePorts(t, 4)[:2] {
		g.managers[i] = g.manager(filepath.Join(dir, fmt.Sprint("m", i)), i, port, testlib.FreePort(t).Port(), bucket)
	}
	for i := range g.gateways {
		g.gateways[i].Dir = filepath.Join(dir, g.gateways[i].Name)
		role(t, "gateway", g.gateways[i].Dir)
		g.must(g.gateways[i].Dir, "cpqconfig unpair; commit", "")
	}
	for i := range g.managers {
		g.start(i)
		for _, gw := range g.gateways {
			g.must(g.managers[i].Dir, "applianceconfig add "+gw.SSH+" "+gw.User+" Y; commit", gw.Password+"\n")
		}
	}
	return g
}

// manager makes the directory of one.
func (g *group) manager(dir string, i, ssh int, cpq uint16, bucket *testlib.S3Server) endpoint {
	g.t.Helper()
	if out, err := exec.Command(binary, "init", "manager", "--dir", dir, "--hostname", fmt.Sprintf("m%d.lazaret.example", i)).CombinedOutput(); err != nil {
		g.t.Fatalf("%v\n%s", err, out)
	}
	conf := filepath.Join(dir, "config.xml")
	b, err := os.ReadFile(conf)
	if err != nil {
		g.t.Fatal(err)
	}
	text := string(b)
	for _, r := range [][2]string{
		{`<port>2222</port>`, fmt.Sprintf("<port>%d</port>", ssh)},
		{`<port>7025</port>`, fmt.Sprintf("<port>%d</port>", cpq)},
		{`(?s)<database>.*?</database>`, "<database><dsn_file>dsn</dsn_file></database>"},
		{`(?s)<content_store>.*?</content_store>`, "<content_store><endpoint>" + bucket.Endpoint + "</endpoint><bucket>" + bucket.Bucket +
			"</bucket><path_style>1</path_style><credentials_file>s3</credentials_file></content_store>"},
		{`(?s)<undo_release>.*?</undo_release>`, "<undo_release>0</undo_release>"},
		{`(?s)<delete_rest>.*?</delete_rest>`, "<delete_rest>0</delete_rest>"},
	} {
		was := text
		if text = regexp.MustCompile(r[0]).ReplaceAllLiteralString(text, r[1]); text == was {
			g.t.Fatalf("no %s in\n%s", r[0], text)
		}
	}
	key, err := []byte(nil), error(nil)
	if i > 0 {
		key, err = os.ReadFile(filepath.Join(g.managers[0].Dir, "keys", "content.key"))
		if err == nil {
			err = os.MkdirAll(filepath.Join(dir, "keys"), 0o700)
		}
	}
	for name, b := range map[string]string{"config.xml": text, "dsn": g.dsn + "\n", "keys/content.key": string(key),
		"s3": "[default]\naws_access_key_id = " + bucket.Access + "\naws_secret_access_key = " + bucket.Secret + "\n"} {
		if err == nil && b != "" {
			err = os.WriteFile(filepath.Join(dir, name), []byte(b), 0o600)
		}
	}
	if err != nil {
		g.t.Fatal(err)
	}
	e := endpoint{Name: fmt.Sprint("m", i), Dir: dir}
	if i == 0 { // its key is made at the first start
		g.managers[0] = e
		g.start(0)
	}
	return e
}

func (g *group) start(i int) {
	g.t.Helper()
	if p := g.live[i]; p != nil {
		p.kill()
	}
	g.live[i] = role(g.t, "manager", g.managers[i].Dir)
}

// must runs lines over the local socket.
func (g *group) must(dir, line, input string) string {
	g.t.Helper()
	cmd := exec.Command(binary, "cli", "--dir", dir, line)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		g.t.Fatalf("%s> %s: %v\n%s", dir, line, err, out)
	}
	return string(out)
}

// records gives what a manager knows of all messages in some states, by marker.
func (g *group) records(dir, states string) (map[string][]string, error) {
	out, err := cli(dir, "quarantine search --json --limit 100000 "+states)
	all := map[string][]string{}
	for _, line := range strings.Split(strings.TrimSpace(out), "\n") {
		var h map[string]any
		if line == "" || json.Unmarshal([]byte(line), &h) != nil {
			continue
		}
		id, _ := h["message_id"].(string)
		if marker, ok := strings.CutSuffix(strings.Trim(id, "<>"), "@partner.example"); ok && h["subject"] == "HOLDME flows" {
			all[marker] = append(all[marker], fmt.Sprint(h["id"]))
		}
	}
	return all, err
}

// operate decides about held mail at one manager, now and then about the same as
// the other, until stop is closed.
func (g *group) operate(i int, stop chan struct{}) {
	for n := i; ; n++ {
		select {
		case <-stop:
			return
		default:
		}
		all, err := g.records(g.managers[i].Dir, "state held order oldest")
		if err != nil || len(all) == 0 {
			time.Sleep(50 * time.Millisecond) // it is being started, or has nothing
			continue
		}
		what := []string{"release", "release", "delete"}[n%3]
		k := 0
		for marker, mids := range all {
			if k++; k > 5 {
				break
			}
			g.mu.Lock()
			g.unsure[marker] = true
			g.mu.Unlock()
			out, err := cli(g.managers[i].Dir, "quarantine "+what+" "+mids[0])
			g.mu.Lock()
			if err == nil && strings.HasPrefix(out, "1 message") {
				g.decided[marker] = what
				g.confirms[marker]++
			}
			g.mu.Unlock()
		}
	}
}

// expire puts exit times of some held messages into the past: their time has
// come while managers are killed.
func (g *group) expire(n int) {
	g.t.Helper()
	c, err := pgx.Connect(g.t.Context(), g.dsn)
	if err != nil {
		g.t.Fatal(err)
	}
	defer func() { _ = c.Close(context.Background()) }()
	rows, err := c.Query(g.t.Context(), `UPDATE membership SET exit = 1 WHERE mid IN (SELECT b.mid FROM membership b JOIN message m ON m.mid = b.mid
		WHERE b.state = 0 AND b.exit > 1 AND m.state = 0 AND m.display = 'HOLDME flows' ORDER BY b.mid DESC LIMIT $1)
		RETURNING (SELECT message_id FROM message WHERE message.mid = membership.mid)`, n)
	if err != nil {
		g.t.Fatal(err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		g.t.Fatal(err)
	}
	for _, id := range ids {
		g.mu.Lock()
		g.expired[strings.TrimSuffix(strings.Trim(id, "<>"), "@partner.example")] = true
		g.mu.Unlock()
	}
}

// Two whole managers share a PostgreSQL server and a bucket. Each is killed with
// kill -9 at random instants and comes back, while two gateways bring mail,
// operators at both decide, and time lets messages go: what was acknowledged is
// there once, is decided once, arrives once or never, and unharmed.
// LAZARET_MANAGER_KILLS=n kills, 2 without.
func TestKillManagers(t *testing.T) {
	kills := 2
	if n, err := strconv.Atoi(os.Getenv("LAZARET_MANAGER_KILLS")); err == nil {
		kills = n
	}
	g := newGroup(t)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	loads := []*load{}
	for i, gw := range g.gateways {
		l := newLoad(t, gw.SMTP, gw.Name, 2)
		loads = append(loads, l)
		wg.Go(func() {
			for m := range l.acks {
				if marker, is := strings.CutSuffix(m, " held"); is {
					g.mu.Lock()
					g.held[marker] = true
					g.mu.Unlock()
				}
			}
		})
		wg.Go(func() { g.operate(i, stop) })
	}
	for n := range kills {
		g.until("mail comes in, and is decided about", func() bool {
			g.mu.Lock()
			defer g.mu.Unlock()
			return len(g.held) >= 10*(n+1) && len(g.confirms) >= 3*(n+1)
		})
		g.expire(2)
		time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond) // the instant is any
		i := rand.IntN(2)
		g.live[i].kill()
		if n%2 == 0 { // the other one is alone for some time
			g.aloneFor(1 - i)
		}
		g.start(i)
	}
	for _, l := range loads {
		l.end()
	}
	close(stop)
	wg.Wait()
	g.check(kills)
}

// aloneFor waits until the manager that is left has taken mail from both gateways.
func (g *group) aloneFor(left int) {
	g.t.Helper()
	before, err := g.records(g.managers[left].Dir, "")
	g.until("the manager that is left takes mail", func() bool {
		var now map[string][]string
		if now, err = g.records(g.managers[left].Dir, ""); err != nil {
			return false
		}
		seen := map[string]bool{}
		for m := range now {
			if before[m] == nil {
				seen[m[:strings.IndexByte(m, '-')]] = true
			}
		}
		return len(seen) == len(g.gateways)
	})
}

func (g *group) until(what string, is func() bool) {
	g.t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			g.t.Fatalf("it is not so that %s\n%s\n%s", what, g.live[0].stderr, g.live[1].stderr)
		}
	}
}

// everyState is what a message may have become.
const everyState = "state held state leaving state releasing state taken state released state binned state deleted state failed"

// check waits until all has settled, lets go what is held, and counts.
func (g *group) check(kills int) {
	g.t.Helper()
	dir := g.managers[0].Dir
	var missing []string
	g.until("all that was acknowledged is known to a manager", func() bool {
		for _, gw := range g.gateways {
			_, _ = cli(gw.Dir, "delivernow all")
		}
		all, err := g.records(dir, everyState)
		missing = missing[:0]
		for m := range g.held {
			if len(all[m]) == 0 {
				missing = append(missing, m)
			}
		}
		return err == nil && len(missing) == 0
	})
	g.until("what was due has left", func() bool {
		in, err := g.records(dir, "state held")
		for m := range g.expired {
			if err != nil || in[m] != nil {
				return false
			}
		}
		return true
	})
	g.must(dir, "quarantine release --all subject-is 'HOLDME flows'", "")
	gone := map[string]bool{}
	g.until("all that was released arrives", func() bool {
		for _, m := range g.managers {
			_, _ = cli(m.Dir, "delivernow all")
		}
		all, err := g.records(dir, "state deleted")
		open, err2 := g.records(dir, "state leaving state releasing state taken state failed")
		more, err3 := g.records(dir, "state held")
		if err != nil || err2 != nil || err3 != nil || len(open)+len(more) > 0 {
			return false
		}
		clear(gone)
		for m := range all {
			gone[m] = true
		}
		for m := range g.held {
			if !gone[m] && g.sink.count(m) == 0 {
				return false
			}
		}
		return true
	})
	all, err := g.records(dir, everyState)
	if err != nil {
		g.t.Fatal(err)
	}
	expired := 0
	for m := range g.held {
		n := g.sink.count(m)
		switch {
		case len(all[m]) != 1:
			g.t.Errorf("%s is there %d times", m, len(all[m]))
		case g.confirms[m] > 1:
			g.t.Errorf("%d managers decided about %s", g.confirms[m], m)
		case n > 1 || n == 1 && gone[m]:
			g.t.Errorf("%s arrived %d times, deleted: %v", m, n, gone[m])
		case g.decided[m] == "release" && n != 1 || g.decided[m] == "delete" && !gone[m]:
			g.t.Errorf("%s was confirmed: %s; it arrived %d times", m, g.decided[m], n)
		case gone[m] && g.decided[m] == "" && !g.unsure[m] && !g.expired[m]:
			g.t.Errorf("%s was deleted, and nobody had asked for it", m)
		}
		if g.expired[m] && gone[m] {
			expired++
		}
	}
	if len(g.sink.damaged) > 0 {
		g.t.Errorf("damaged: %q", g.sink.damaged)
	}
	g.once()
	g.t.Logf("%d kills, %d held, %d decided, %d deleted, %d of them expired", kills, len(g.held), len(g.decided), len(gone), expired)
	proof.Line(g.t, "managers-killed", kills)
	proof.Line(g.t, "managers-killed-held-messages", len(g.held))
}

// once looks for what both logs say: nothing left all quarantines twice.
func (g *group) once() {
	seen := map[string]int{}
	for _, m := range g.managers {
		files, _ := filepath.Glob(filepath.Join(m.Dir, "log", "mail_logs", "mail.*.s"))
		files = append(files, filepath.Join(m.Dir, "log", "mail_logs", "mail.current"))
		for _, f := range slices.Compact(files) {
			b, err := os.ReadFile(f)
			if err != nil {
				g.t.Fatal(err)
			}
			for _, line := range regexp.MustCompile(`MID \d+ (released|deleted) from all quarantines`).FindAllString(string(b), -1) {
				mid, _, _ := strings.Cut(line[len("MID "):], " ")
				seen[mid]++
			}
		}
	}
	for mid, n := range seen {
		if n > 1 {
			g.t.Errorf("MID %s left all quarantines %d times", mid, n)
		}
	}
}
