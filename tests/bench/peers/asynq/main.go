// The driver of asynq for the referee: tests/bench/README.md has the contract.
//
//	driver produce|work|versions ...
//
// asynq at v0.26.0 has no bulk enqueue (BatchEnqueue is merged but not in a
// release), so a batch of B is B goroutines on one Client, which its
// documentation calls safe for concurrent use.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/hibiken/asynq"
)

type options struct {
	url         string
	handler     string
	setting     string
	count       int
	batch       int
	payload     int
	delayMs     float64
	spreadMs    float64
	rate        float64
	concurrency int
	processes   int
}

// What the two settings are, as `versions` tells and `work` does.
const (
	bestTaskCheck    = time.Millisecond
	bestDelayedCheck = 10 * time.Millisecond
	bestPoolSize     = 128
)

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "asynq driver:", err)
		os.Exit(1)
	}
}

func redisOption(opts *options) asynq.RedisClientOpt {
	parsed, err := asynq.ParseRedisURI(opts.url)
	fail(err)
	made, ok := parsed.(asynq.RedisClientOpt)
	if !ok {
		fail(fmt.Errorf("url %s: not one redis server", opts.url))
	}
	if opts.setting == "best" {
		made.PoolSize = bestPoolSize
	}
	return made
}

func readOptions(args []string) *options {
	opts := &options{}
	flags := flag.NewFlagSet("driver", flag.ExitOnError)
	flags.StringVar(&opts.url, "url", "redis://127.0.0.1:6379/0", "server")
	flags.StringVar(&opts.handler, "handler", "noop", "name of the handler")
	flags.StringVar(&opts.setting, "setting", "default", "default or best")
	flags.IntVar(&opts.count, "count", 0, "tasks to enqueue")
	flags.IntVar(&opts.batch, "batch", 1, "tasks a call")
	flags.IntVar(&opts.payload, "payload", 200, "bytes of a payload")
	flags.Float64Var(&opts.delayMs, "delay-ms", 0, "delay of the first task")
	flags.Float64Var(&opts.spreadMs, "spread-ms", 0, "added by the last task")
	flags.Float64Var(&opts.rate, "rate", 0, "tasks a second, 0: no limit")
	flags.IntVar(&opts.concurrency, "concurrency", 1, "tasks at once")
	flags.IntVar(&opts.processes, "processes", 1, "worker processes")
	fail(flags.Parse(args))
	if opts.setting != "default" && opts.setting != "best" {
		fail(fmt.Errorf("setting %q: default or best", opts.setting))
	}
	if handlers[opts.handler] == nil {
		fail(fmt.Errorf("handler %q: not one of this driver", opts.handler))
	}
	if opts.batch < 1 || opts.concurrency < 1 || opts.processes < 1 {
		fail(fmt.Errorf("batch %d, concurrency %d, processes %d: 1 at least",
			opts.batch, opts.concurrency, opts.processes))
	}
	return opts
}

func version() string {
	info, ok := debug.ReadBuildInfo()
	if ok {
		for _, dependency := range info.Deps {
			if dependency.Path == "github.com/hibiken/asynq" {
				return dependency.Version
			}
		}
	}
	return "unknown"
}

func versions() {
	line, err := json.Marshal(map[string]any{
		"name":    "asynq",
		"version": version(),
		"runtime": runtime.Version(),
		"settings": map[string]any{
			"default": map[string]string{
				"TaskCheckInterval":        "1s",
				"DelayedTaskCheckInterval": "5s",
				"PoolSize":                 "10 a CPU",
			},
			"best": map[string]string{
				"TaskCheckInterval": bestTaskCheck.String() +
					" (pkg.go.dev asynq.Config; its default of 1s bounds the" +
					" start latency, a small value loads Redis)",
				"DelayedTaskCheckInterval": bestDelayedCheck.String() +
					" (pkg.go.dev asynq.Config)",
				"PoolSize": strconv.Itoa(bestPoolSize) +
					" (pkg.go.dev asynq.RedisClientOpt)",
			},
		},
		"notes": "no bulk enqueue in a release: a batch of B is B goroutines" +
			" on one Client; due times are kept in whole seconds, rounded" +
			" down, so a delayed task may start up to 1 s early; leases are" +
			" 30 s, looked at once a minute, and expired ones wait another" +
			" 30 s: no option changes that; best drops no guarantee",
		"handlers": []string{"noop", "sleep", "cpu", "stamp", "hold"},
	})
	fail(err)
	fmt.Println(string(line))
}

func main() {
	if len(os.Args) < 2 {
		fail(fmt.Errorf("no verb: produce, work or versions"))
	}
	switch os.Args[1] {
	case "produce":
		produce(readOptions(os.Args[2:]))
	case "work":
		work(readOptions(os.Args[2:]), os.Args[2:])
	case "versions":
		versions()
	default:
		fail(fmt.Errorf("verb %q: produce, work or versions", os.Args[1]))
	}
}
