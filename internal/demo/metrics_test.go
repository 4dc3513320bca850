package demo

import (
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"lazaret/internal/testlib"
)

// The numbers of both roles, turned on by a command: how full the pool is, what
// quarantines hold, what waits, when certificates end; no address of anybody.
func TestMetricsOfBoth(t *testing.T) {
	a := made(t)
	pair(t, a)
	ports := testlib.FreePorts(t, 2)
	sma, gw := "127.0.0.1:"+strconv.Itoa(ports[0]), "127.0.0.1:"+strconv.Itoa(ports[1])
	local(t, a.Manager.Dir, "metricsconfig setup "+sma+"; commit")
	local(t, a.Gateways[0].Dir, "metricsconfig setup "+gw+"; commit")
	if out := local(t, a.Gateways[0].Dir, "metricsconfig"); out != "Metrics: http://"+gw+"/metrics\n" {
		t.Errorf("%q", out)
	}
	read := func(at string) string {
		r, err := http.Get("http://" + at + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	value := func(text, name string) float64 {
		t.Helper()
		f := regexp.MustCompile(`(?m)^lazaret_` + regexp.QuoteMeta(name) + ` (\S+)$`).FindStringSubmatch(text)
		if f == nil {
			t.Fatalf("no %s in\n%s", name, text)
		}
		v, err := strconv.ParseFloat(f[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	before := value(read(sma), `quarantine_messages{quarantine="Policy"}`)
	postTo(t, a.Gateways[0].SMTP, "Subject: HOLDME counted\r\n\r\n"+strings.Repeat("x\r\n", 1000), "bob@example.com")
	waitHeld(t, a.Manager.Dir, "HOLDME counted")
	text := read(sma)
	if n := value(text, `quarantine_messages{quarantine="Policy"}`); n != before+1 {
		t.Errorf("%v held, not %v", n, before+1)
	}
	used, limit := value(text, "quarantine_pool_used_bytes"), value(text, "quarantine_pool_limit_bytes")
	if ratio := value(text, "quarantine_pool_used_ratio"); used < 3000 || limit != 20<<30 || ratio != used/limit {
		t.Errorf("used %v of %v: %v", used, limit, ratio)
	}
	other := read(gw)
	waitFor(t, func() bool { // its queue notes the receipt behind the manager's commit
		other = read(gw)
		return value(other, `cpq_waiting_recipients{destination="the.cpq.host"}`) == 0
	})
	if n := value(other, "messages_received_total"); n < 1 {
		t.Errorf("%v received", n)
	}
	for _, text := range []string{text, other} {
		if value(text, "metrics_complete") != 1 || !strings.Contains(text, `lazaret_certificate_end_seconds{certificate="CPQ certificate of this appliance",id=`) {
			t.Errorf("not complete:\n%s", text)
		}
		if strings.Contains(text, "bob") || strings.Contains(text, "partner.example") || strings.Contains(text, "HOLDME") {
			t.Errorf("it names people:\n%s", text)
		}
	}
	local(t, a.Manager.Dir, "metricsconfig setup off; commit")
	if r, err := http.Get("http://" + sma + "/metrics"); err == nil {
		b, _ := io.ReadAll(r.Body)
		r.Body.Close()
		if strings.Contains(string(b), "lazaret_") {
			t.Error("off, and it answers")
		}
	}
}
