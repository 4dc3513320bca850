package gateway

import (
	"context"
	"io"
	"reflect"
	"time"

	"lazaret/internal/config"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/pipeline"
	"lazaret/internal/quarantine"
	"lazaret/internal/scan"
	"lazaret/internal/spool"
)

// analyser gives the client of the analyser, the one there is as long as its
// settings stay.
func (g *Gateway) analyser(c config.FileAnalysis) (*scan.Analyser, error) {
	if g.scanner.analyser != nil && reflect.DeepEqual(c, g.scanner.analysis) {
		return g.scanner.analyser, nil
	}
	kinds, size, timeout, err := c.Effective()
	if err != nil {
		return nil, err
	}
	g.scanner.analysis = c
	g.scanner.analyser = scan.NewAnalyser(scan.AnalyserOptions{URL: c.Analyser, Key: c.Key, Kinds: kinds, Size: size, Timeout: timeout, Client: g.web(c.CAFile)})
	return g.scanner.analyser, nil
}

// How often the analyser is asked about what waits for it: at first, and at
// last, for each message.
const (
	analyseSoon  = 10 * time.Second
	analyseLater = 2 * time.Minute
)

// waits says when a message that is analysed is asked about again.
type waits struct {
	next  time.Time
	pause time.Duration
	over  bool // and what came of it is known
}

// due reports whether it is time, and notes the next.
func (w *waits) due(now time.Time) bool {
	if now.Before(w.next) {
		return false
	}
	w.pause = min(max(analyseSoon, 2*w.pause), analyseLater)
	w.next = now.Add(w.pause)
	return true
}

// watchAnalysis asks about what waits in File Analysis in quarantines of our own
// until ctx ends. A message of which all is known leaves: on its way it is
// scanned again, and what is malicious held as its policy says (reference 2.5).
func (g *Gateway) watchAnalysis(ctx context.Context) {
	known := map[mail.MID]*waits{}
	t := time.NewTicker(analyseSoon)
	defer t.Stop()
	for {
		if err := g.lookAnalysed(ctx, known); err != nil && ctx.Err() == nil {
			g.Log.Fault("file analysis", err.Error())
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// lookAnalysed asks once about all that is due.
func (g *Gateway) lookAnalysed(ctx context.Context, known map[mail.MID]*waits) error {
	there := map[mail.MID]bool{}
	var over []quarantine.Verdict
	for m, err := range g.quarantines.Search(ctx, mail.System(), quarantine.Query{Quarantine: quarantine.FileAnalysis, States: []quarantine.State{quarantine.Held}}) {
		if err != nil {
			return err
		}
		if !m.Analysing() {
			continue
		}
		there[m.MID] = true
		w := known[m.MID]
		if w == nil {
			w = &waits{}
			known[m.MID] = w
		}
		if !w.due(g.Now()) {
			continue
		}
		done, err := g.analysedHere(ctx, m)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil && done { // else it stays until its time is up, or a later answer
			over = append(over, quarantine.Verdict{MID: m.MID, Quarantine: quarantine.FileAnalysis, Known: true})
		}
	}
	for mid := range known {
		if !there[mid] {
			delete(known, mid)
		}
	}
	if len(over) == 0 {
		return nil
	}
	_, _, err := g.quarantines.Judged(ctx, g.serial(), over)
	return err
}

func (g *Gateway) analysedHere(ctx context.Context, m *quarantine.Message) (bool, error) {
	in, err := inputOf(m, func() (io.ReadCloser, error) { return g.quarantines.Content(ctx, mail.System(), m.MID) })
	if err != nil {
		return false, err
	}
	return g.pipeline.Analysed(ctx, in, m.Policy)
}

// analysedThere says whether the analysis of a message that a manager holds is
// over.
func (g *Gateway) analysedThere(ctx context.Context, sent *spool.Sent, sh spool.Shadow) (bool, error) {
	done, err := g.pipeline.Analysed(ctx, pipeline.Input{
		MID: sent.MID, Env: mail.Envelope{Params: sent.Params, From: sent.From, To: sent.Recipients, Rcpt: sent.Rcpt},
		Origin: sent.Origin, Size: sent.Size, Subject: sent.Subject, Open: func() (io.ReadCloser, error) { return g.spool.OpenShadow(ctx, sh) },
	}, sent.Judged.Policy)
	return done, errs.Context(err, "file analysis of MID %s", sent.MID)
}
