// Package metrics shows the numbers of an appliance at /metrics, in the text form
// of Prometheus, to whoever can reach the address: nobody logs in, so it belongs
// on the loopback or a network of its own. It is off unless it is configured.
//
// It shows counts, sizes and times, and of names only those that an administrator
// gave: quarantines, certificates. No address, domain or subject is in it.
package metrics

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"lazaret/internal/errs"
)

// Limits of what asks: it is one program, once in some seconds.
const (
	maxInFlight = 4
	maxTime     = 10 * time.Second // for one answer
	maxHeader   = 16 << 10
)

// Put takes one number. Names end as is the custom: _total for what only grows.
// Labels are pairs of name and value.
type Put func(name, help string, value float64, labels ...string)

// Source gives all numbers of a moment. An error is that some could not be had;
// it is told, and the others are shown all the same.
type Source func(ctx context.Context, put Put) error

// Server answers at one address. Safe for concurrent use.
type Server struct {
	fault func(component, text string)
	http  http.Server
	wg    sync.WaitGroup

	mu   sync.Mutex
	l    net.Listener // nil: it is off
	at   string
	gone bool
}

// New makes one that is off. fault hears of what goes wrong.
func New(sources []Source, fault func(component, text string)) *Server {
	s := &Server{fault: fault}
	reg := prometheus.NewRegistry()
	reg.MustRegister(collector{s, sources})
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{MaxRequestsInFlight: maxInFlight, Timeout: maxTime}))
	s.http = http.Server{Handler: mux, ReadHeaderTimeout: maxTime, WriteTimeout: 3 * maxTime, IdleTimeout: time.Minute, MaxHeaderBytes: maxHeader}
	s.http.SetKeepAlivesEnabled(false) // a connection for each question, and none that lies idle
	return s
}

// Listen answers at an address from now on, and no more at the one before; empty
// is off. When the new one cannot be opened the old one stays.
func (s *Server) Listen(at string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone || at == s.at {
		return nil
	}
	var next net.Listener
	if at != "" {
		l, err := net.Listen("tcp", at)
		if err != nil {
			return errs.Wrap(errs.Internal, err, "metrics")
		}
		next = l
		s.wg.Go(func() {
			if err := s.http.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
				s.fault("metrics", err.Error())
			}
		})
	}
	old := s.l
	s.l, s.at = next, at
	if old != nil {
		if err := old.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			s.fault("metrics", err.Error())
		}
	}
	return nil
}

// Addr gives where it answers; empty: nowhere.
func (s *Server) Addr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at
}

// Close ends it for good.
func (s *Server) Close() error {
	s.mu.Lock()
	s.gone = true
	s.mu.Unlock()
	err := s.http.Close()
	s.wg.Wait()
	return err
}

// safe keeps a panic of one source from ending mail: it would be one of a
// goroutine that nobody guards.
func safe(ctx context.Context, from Source, put Put) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = errs.New(errs.Internal, "panic: %v", r)
		}
	}()
	return from(ctx, put)
}

// collector asks the sources at each question; nothing is kept between two.
type collector struct {
	s       *Server
	sources []Source
}

// Describe implements prometheus.Collector: what there is depends on the moment.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), maxTime)
	defer cancel()
	whole := 1.0
	put := func(name, help string, value float64, labels ...string) {
		kind := prometheus.GaugeValue
		if n := len(name); n > 6 && name[n-6:] == "_total" {
			kind = prometheus.CounterValue
		}
		var names, values []string
		for i := 0; i+1 < len(labels); i += 2 {
			names, values = append(names, labels[i]), append(values, labels[i+1])
		}
		m, err := prometheus.NewConstMetric(prometheus.NewDesc("lazaret_"+name, help, names, nil), kind, value, values...)
		if err != nil { // a name that is not UTF-8, say
			whole = 0
			return
		}
		ch <- m
	}
	for _, from := range c.sources {
		if err := safe(ctx, from, put); err != nil {
			whole = 0
			c.s.fault("metrics", err.Error())
		}
	}
	put("metrics_complete", "1 when all numbers could be had, else 0.", whole)
}
