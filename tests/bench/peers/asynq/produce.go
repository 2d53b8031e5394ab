// Enqueues tasks and measures the loop that does it.

package main

import (
	"bytes"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/hibiken/asynq"
	"golang.org/x/sys/unix"
)

func monotonicNs() int64 {
	var now unix.Timespec
	fail(unix.ClockGettime(unix.CLOCK_MONOTONIC, &now))
	return now.Nano()
}

func cpuSeconds() float64 {
	var used unix.Rusage
	fail(unix.Getrusage(unix.RUSAGE_SELF, &used))
	return float64(used.Utime.Nano()+used.Stime.Nano()) / 1e9
}

// payload is a JSON object of exactly size bytes, if its fields fit.
func payload(opts *options, number int, stampNs int64) []byte {
	made := make([]byte, 0, opts.payload)
	made = append(made, `{"n":`...)
	made = strconv.AppendInt(made, int64(number), 10)
	if stampNs != 0 {
		made = append(made, `,"t":`...)
		made = strconv.AppendInt(made, stampNs, 10)
	}
	made = append(made, `,"pad":"`...)
	if pad := opts.payload - len(made) - 2; pad > 0 {
		made = append(made, bytes.Repeat([]byte{'x'}, pad)...)
	}
	return append(made, '"', '}')
}

func enqueue(client *asynq.Client, opts *options, number int) {
	delay := time.Duration((opts.delayMs + float64(number)*opts.spreadMs/
		float64(opts.count)) * float64(time.Millisecond))
	var stampNs int64
	if opts.handler == "stamp" || opts.handler == "hold" {
		stampNs = monotonicNs() + int64(delay)
	}
	task := asynq.NewTask(opts.handler, payload(opts, number, stampNs))
	var err error
	if delay > 0 {
		_, err = client.Enqueue(task, asynq.ProcessIn(delay))
	} else {
		_, err = client.Enqueue(task)
	}
	fail(err)
}

// produce spreads the tasks over as many goroutines as a batch has tasks.
func produce(opts *options) {
	client := asynq.NewClient(redisOption(opts))
	fail(client.Ping())
	numbers := make(chan int, opts.batch)
	var group sync.WaitGroup
	start, startCPU := time.Now(), cpuSeconds()
	for lane := 0; opts.batch > 1 && lane < opts.batch; lane++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for number := range numbers {
				enqueue(client, opts, number)
			}
		}()
	}
	for number := 0; number < opts.count; number++ {
		if opts.rate > 0 {
			due := float64(number) / opts.rate * float64(time.Second)
			time.Sleep(time.Until(start.Add(time.Duration(due))))
		}
		if opts.batch > 1 {
			numbers <- number
		} else {
			enqueue(client, opts, number)
		}
	}
	close(numbers)
	group.Wait()
	fmt.Printf("{\"count\":%d,\"wall_s\":%.6f,\"cpu_s\":%.6f}\n", opts.count,
		time.Since(start).Seconds(), cpuSeconds()-startCPU)
	fail(client.Close())
}
