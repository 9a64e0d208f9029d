from .campaign import CampaignError as CampaignError
from .campaign import draw_figures as draw_figures
from .campaign import run_campaign as run_campaign
from .publication import box_maps as box_maps
from .user_runs import add_failure as add_failure
from .user_runs import add_run as add_run
from .user_runs import runs_to_do as runs_to_do
