package choice

import (
	"bufio"
	"errors"
	"net"
	"net/http"
	"strconv"
	"time"
)

var errNoJack = errors.New("this connection cannot be taken over")

// nowhere takes the answers to copies.
type nowhere struct{ header http.Header }

func (n *nowhere) Header() http.Header               { return n.header }
func (n *nowhere) Write(body []byte) (int, error)    { return len(body), nil }
func (n *nowhere) WriteHeader(status int)            {}

// answer passes an answer on, and sees when it begins and what it says. Traefik does not find Flush on what is
// interpreted, so everything whose end is not known is flushed here, as it comes.
type answer struct {
	http.ResponseWriter
	began       time.Time
	cookie      string
	status      int
	ms          float64
	rest        int
	whole, left bool
}

func (a *answer) begin(status int) {
	a.status = status
	a.ms = time.Since(a.began).Seconds() * 1000
	if a.cookie != "" {
		a.Header().Add("Set-Cookie", a.cookie)
	}
}

// WriteHeader begins the answer, unless it is a word in between such as 103.
func (a *answer) WriteHeader(status int) {
	if status < 200 || a.status != 0 {
		a.ResponseWriter.WriteHeader(status)
		return
	}
	a.begin(status)
	a.rest = -1
	if length := a.Header().Get("Content-Length"); length != "" {
		a.rest, _ = strconv.Atoi(length)
	}
	a.ResponseWriter.WriteHeader(status)
	if a.rest < 0 {
		a.flush()
	}
}

func (a *answer) Write(body []byte) (int, error) {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	n, err := a.ResponseWriter.Write(body)
	if err != nil {
		a.left = true
		return n, err
	}
	if a.rest > 0 {
		a.rest -= n
	}
	if a.rest != 0 {
		a.flush()
	}
	return n, nil
}

// Hijack is a websocket's beginning.
func (a *answer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	taken, ok := a.ResponseWriter.(http.Hijacker)
	if !ok {
		return nil, nil, errNoJack
	}
	a.begin(http.StatusSwitchingProtocols)
	return taken.Hijack()
}

func (a *answer) flush() {
	if able, ok := a.ResponseWriter.(http.Flusher); ok {
		able.Flush()
	}
}
