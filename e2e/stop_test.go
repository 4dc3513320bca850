package e2e

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Ctrl-C waits for a message in hand; a second Ctrl-C does not.
func TestSecondCtrlC(t *testing.T) {
	d := start(t, t.TempDir())
	c, err := net.Dial("tcp", d.Gateways[0].SMTP)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	in := bufio.NewReader(c)
	for _, line := range []string{"", "EHLO x", "MAIL FROM:<a@partner.example>", "RCPT TO:<bob@example.com>", "DATA"} {
		if line != "" {
			fmt.Fprintf(c, "%s\r\n", line)
		}
		for {
			s, err := in.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if len(s) > 3 && s[3] == ' ' {
				break
			}
		}
	}
	interrupt := func() {
		if err := d.cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
	}
	interrupt()
	for { // until it has begun to end
		probe, err := net.Dial("tcp", d.Gateways[0].SMTP)
		if err != nil {
			break
		}
		probe.Close()
	}
	select {
	case <-d.done:
		t.Fatal("did not wait for the message in hand")
	case <-time.After(200 * time.Millisecond):
	}
	interrupt()
	select {
	case <-d.done:
	case <-time.After(time.Minute):
		t.Fatal("a second Ctrl-C was not heard")
	}
	if !strings.Contains(d.cmd.ProcessState.String(), "interrupt") {
		t.Error(d.cmd.ProcessState)
	}
}
