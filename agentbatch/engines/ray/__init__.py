"""Many machines: the same config and inputs on the nodes of a Ray cluster (https://docs.ray.io).

opening     from a run's config to its engine
engine      the driver: deals items, takes results
backlog     items that no worker has        link        one worker, as the driver knows it
crew        who works, and where            paid_calls  the driver's end of the call journal
cluster     the border to Ray               actors      what Ray makes an actor of
placements  which agents run where          errands     steps that run on other workers than their items
parcels     what travels                    folder      the config's folder, packed
station     a worker: the local engine      inbox, far_journal, relay   its ends of what travels
files_home  what agents leave behind        tasks       functions as tasks of Ray's own
refusals    what can't be run there         mends       what keeps a run from a cluster, and what to do
survey      what a cluster is made of       resources   how Ray is asked for them
head_watch  whether the head still answers  lean_start  a private Ray with fewer processes
versions    what must be the same everywhere
local_raylet  the Ray process of this machine
"""
