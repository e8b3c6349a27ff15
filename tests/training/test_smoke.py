from lidr.training import train
import time
def test_a(make_job,tmp_path):
    for o in ({}, {"lora.rank":2}, {"trainer.precision":"bf16"}, {"objective.name":"sft"}):
        t=time.time()
        print(train(make_job(tmp_path/str(len(str(o))),o)), time.time()-t)
    print((tmp_path/"2/training/metrics.jsonl").read_text().splitlines()[0])
